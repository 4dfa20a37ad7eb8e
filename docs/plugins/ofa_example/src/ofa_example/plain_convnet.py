"""A family of search spaces: plain residual networks of 3x3 convolutions, with elastic width, depth and resolution.

A stem, then stages: a strided convolution, and behind it up to `max(depth)` residual ones (He et al.,
https://arxiv.org/abs/1512.03385, with one convolution a block). Each stage has a width of its own. All operators are
those of ofa-nas, so that training, measuring and every export form know them already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.base import Blueprint, side_after
from search_spaces.families.settings import Factor, Positive, Side, ascending, check_per_stage, check_resolution, whole
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import Conv, PoolClassifier, ResidualConv, make_divisible
from search_spaces.space import Choices, Slot


class PlainConvNetSettings(Settings):
    """`width` multiplies the `widths` of the stages, `depth` counts the residual convolutions of a stage."""

    resolution: tuple[Side, ...] = (128, 160, 192, 224)
    width: tuple[Factor, ...] = (0.5, 0.75, 1)
    depth: tuple[Positive, ...] = (1, 2, 3)
    width_mult: Factor = 1.0
    stem_channels: Positive = 32
    stem_stride: Positive = 2
    widths: tuple[Positive, ...] = (64, 128, 256)
    strides: tuple[Positive, ...] = (2, 2, 2)

    @pydantic.field_validator("resolution", "width", "depth")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("width")
    @classmethod
    def _whole(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> PlainConvNetSettings:
        check_per_stage("strides", self.strides, len(self.widths))
        check_resolution(self.resolution, self.stem_stride * math.prod(self.strides))
        return self


#: what ofa-nas asks a family for, beside `build`
settings = PlainConvNetSettings


def build(settings: PlainConvNetSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots. Slots read choices and give operators; both broadcast over arrays of choices."""
    s = settings
    choices, genes = [Choice("resolution")], [Gene.simple("resolution", s.resolution)]
    stem = int(make_divisible(s.stem_channels * s.width_mult))
    slots = [Slot("stem", ("resolution",), partial(_stem, in_channels, stem, s.stem_stride))]
    source: _Width | int = stem
    strides: tuple[int, ...] = (s.stem_stride,)
    for stage, (channels, stride) in enumerate(zip(s.widths, s.strides, strict=True)):
        choices += [Choice("width", stage), Choice("depth", stage)]
        genes += [Gene.simple(f"width.{stage}", s.width), Gene.simple(f"depth.{stage}", s.depth)]
        width = _Width(channels * s.width_mult, f"width.{stage}")
        reads = ("resolution", *_read(source), width.choice)
        slots.append(Slot(f"stage{stage + 1}_enter", reads, partial(_enter, source, width, strides, stride)))
        strides, source = (*strides, stride), width
        for place in range(max(s.depth)):
            name, operator = f"stage{stage + 1}_block{place + 1}", partial(_residual, width, strides)
            present = partial(_deep, stage, place)
            slots.append(Slot(name, ("resolution", width.choice, f"depth.{stage}"), operator, present))
    head = partial(_classifier, source, num_classes, strides)
    slots.append(Slot("classifier", ("resolution", *_read(source)), head))
    return Blueprint(Genome(choices, genes), tuple(slots))


@dataclass(frozen=True)
class _Width:
    """Channels that hang on a choice."""

    base: float
    choice: str

    def __call__(self, choices: Choices) -> Any:
        return make_divisible(self.base * choices[self.choice])


def _read(source: _Width | int) -> tuple[str, ...]:
    return () if isinstance(source, int) else (source.choice,)


def _channels(source: _Width | int, choices: Choices) -> Any:
    return source if isinstance(source, int) else source(choices)


def _deep(stage: int, place: int, choices: Choices) -> Any:
    return choices[f"depth.{stage}"] > place


def _stem(in_channels: int, out_channels: int, stride: int, choices: Choices) -> Conv:
    return Conv(in_channels, out_channels, choices["resolution"], 3, stride, "relu")


def _enter(source: _Width | int, width: _Width, before: tuple[int, ...], stride: int, choices: Choices) -> Conv:
    return Conv(_channels(source, choices), width(choices), side_after(choices, before), 3, stride, "relu")


def _residual(width: _Width, before: tuple[int, ...], choices: Choices) -> ResidualConv:
    channels = width(choices)
    return ResidualConv(channels, channels, side_after(choices, before), 3, 1, "relu")


def _classifier(source: _Width | int, num_classes: int, strides: tuple[int, ...], choices: Choices) -> PoolClassifier:
    return PoolClassifier(_channels(source, choices), num_classes, side_after(choices, strides))
