"""Types and checks that the settings of several families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import pydantic

Positive = Annotated[int, pydantic.Field(ge=1)]
#: side of an image in pixels
Side = Annotated[int, pydantic.Field(ge=8)]
#: a factor of widths
Factor = Annotated[float, pydantic.Field(gt=0)]
#: the probability that dropout zeroes a feature
Dropout = Annotated[float, pydantic.Field(ge=0, lt=1)]


def ascending(values: tuple[float, ...]) -> tuple[float, ...]:
    """The options of an elastic dimension, checked."""
    if not values or list(values) != sorted(set(values)):
        raise ValueError("must be one or more values, ascending and without repeats")
    return values


def whole(values: tuple[float, ...]) -> tuple[float, ...]:
    """3 for 3.0, so that equal settings are written alike."""
    return tuple(int(value) if float(value).is_integer() else value for value in values)


def check_per_stage(name: str, entries: Sequence[object], num_stages: int) -> None:
    if len(entries) != num_stages:
        raise ValueError(f"{name} needs one entry per stage: widths has {num_stages}, {name} {len(entries)}")


def check_resolution(resolutions: Sequence[int], total_stride: int) -> None:
    if min(resolutions) < total_stride / 2:
        raise ValueError(
            f"resolution {min(resolutions)} is too small for a total stride of {total_stride}: use smaller strides"
        )
