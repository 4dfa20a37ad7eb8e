"""The ResNet family of once-for-all networks: ResNet-D (https://arxiv.org/abs/1812.01187) with elastic width, depth and
expand ratio, as published with https://arxiv.org/abs/1908.09791.

A stem of three convolutions, of which the middle one is an optional residual, max pooling, then stages of
bottlenecks. The width of the stem's middle, of its output and of every stage is elastic, so that what a block costs
depends on the width of its own stage and, for the first block of a stage, of the stage before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.base import Blueprint, side_after
from search_spaces.families.settings import (
    Dropout,
    Factor,
    Positive,
    Side,
    ascending,
    check_per_stage,
    check_resolution,
    whole,
)
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import Bottleneck, Conv, MaxPool, PoolClassifier, ResidualConv, make_divisible
from search_spaces.space import Choices, Slot

#: the entries of the group `width`: two of the stem, then one a stage
STEM_MIDDLE, STEM_OUTPUT, FIRST_STAGE = 0, 1, 2


class ResNetSettings(Settings):
    """Lists hold the options of the elastic dimensions, or one entry per stage. Defaults are the published network.

    `width` multiplies `stem_channels` and `widths`; `expand` is the middle of a bottleneck in parts of its output;
    `depth` counts the blocks that a stage has beyond its `base_depths`; `stem_depth` says whether the stem's middle
    convolution is there. Options count as different networks even where rounding makes them equally wide, as two of
    the stem's middle are: so the published size counts.
    """

    resolution: tuple[Side, ...] = tuple(range(128, 257, 16))
    stem_depth: tuple[Annotated[int, pydantic.Field(ge=0, le=1)], ...] = (0, 1)
    width: tuple[Factor, ...] = (0.65, 0.8, 1)
    depth: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = (0, 1, 2)
    expand: tuple[Factor, ...] = (0.2, 0.25, 0.35)
    width_mult: Factor = 1.0
    stem_channels: Positive = 64
    stem_stride: Positive = 2
    pool_stride: Positive = 2
    widths: tuple[Positive, ...] = (256, 512, 1024, 2048)
    base_depths: tuple[Positive, ...] = (2, 2, 4, 2)
    strides: tuple[Positive, ...] = (1, 2, 2, 2)
    dropout: Dropout = 0.0

    @pydantic.field_validator("resolution", "stem_depth", "width", "depth", "expand")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("width", "expand")
    @classmethod
    def _whole(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ResNetSettings:
        check_per_stage("base_depths", self.base_depths, len(self.widths))
        check_per_stage("strides", self.strides, len(self.widths))
        check_resolution(self.resolution, math.prod(self.strides) * self.stem_stride * self.pool_stride)
        return self


def build(settings: ResNetSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    return Blueprint(_genome(settings), tuple(_slots(settings, num_classes, in_channels)))


def _genome(s: ResNetSettings) -> Genome:
    choices = [Choice("resolution"), Choice("stem_depth"), Choice("width", STEM_MIDDLE), Choice("width", STEM_OUTPUT)]
    genes = [Gene.simple("resolution", s.resolution), Gene.simple("stem_depth", s.stem_depth)]
    genes += [Gene.simple(f"width.{entry}", s.width) for entry in (STEM_MIDDLE, STEM_OUTPUT)]
    start = 0
    for stage, base in enumerate(s.base_depths):
        choices += [Choice("width", FIRST_STAGE + stage), Choice("depth", stage)]
        genes += [Gene.simple(f"width.{FIRST_STAGE + stage}", s.width), Gene.simple(f"depth.{stage}", s.depth)]
        for place in range(base + max(s.depth)):
            deeper = tuple(extra for extra in s.depth if base + extra > place)
            always = len(deeper) == len(s.depth)
            block = start + place
            choices.append(Choice("expand", block) if always else Choice("expand", block, f"depth.{stage}", deeper))
            genes.append(Gene.simple(f"expand.{block}", s.expand))
        start += base + max(s.depth)
    return Genome(choices, genes)


@dataclass(frozen=True)
class Width:
    """Channels that hang on a choice: a part of `base`, `halved` in the middle of the stem."""

    base: float
    choice: str
    halved: bool = False

    def __call__(self, choices: Choices) -> Any:
        channels = make_divisible(self.base * choices[self.choice])
        return make_divisible(channels // 2) if self.halved else channels


def _slots(s: ResNetSettings, num_classes: int, in_channels: int) -> list[Slot]:
    middle = Width(s.stem_channels * s.width_mult, f"width.{STEM_MIDDLE}", halved=True)
    output = Width(s.stem_channels * s.width_mult, f"width.{STEM_OUTPUT}")
    before = (s.stem_stride,)
    slots = [
        Slot("stem1", ("resolution", middle.choice), partial(_stem1, in_channels, middle, s.stem_stride)),
        *_optional_stem2(s, middle, before),
        Slot("stem3", ("resolution", middle.choice, output.choice), partial(_stem3, middle, output, before)),
        Slot("pool", ("resolution", output.choice), partial(_pool, output, before, s.pool_stride)),
    ]
    strides: tuple[int, ...] = (s.stem_stride, s.pool_stride)
    block, source = 0, output
    for stage, base_depth in enumerate(s.base_depths):
        width = Width(s.widths[stage] * s.width_mult, f"width.{FIRST_STAGE + stage}")
        for place in range(base_depth + max(s.depth)):
            first, always = place == 0, place < base_depth + min(s.depth)
            operator = partial(
                _block,
                block=block,
                source=source,
                width=width,
                before=strides,
                stride=s.strides[stage] if first else 1,
                downsample=first,
            )
            reads = ("resolution", *dict.fromkeys((source.choice, width.choice)), f"expand.{block}")
            name = f"stage{stage + 1}_block{place + 1}"
            present = partial(_deep, stage, place - base_depth)
            slots.append(
                Slot(name, reads, operator) if always else Slot(name, (*reads, f"depth.{stage}"), operator, present)
            )
            strides, source = (*strides, s.strides[stage]) if first else strides, width
            block += 1
    classifier = partial(_classifier, source, num_classes, strides, s.dropout)
    return [*slots, Slot("classifier", ("resolution", source.choice), classifier)]


def _optional_stem2(s: ResNetSettings, middle: Width, before: tuple[int, ...]) -> list[Slot]:
    """The slot of the stem's residual; none if no network has it."""
    slot = Slot("stem2", ("resolution", middle.choice, "stem_depth"), partial(_stem2, middle, before), _has_stem2)
    return [slot] if max(s.stem_depth) else []


def _deep(stage: int, extra: int, choices: Choices) -> Any:
    return choices[f"depth.{stage}"] > extra


def _has_stem2(choices: Choices) -> Any:
    return choices["stem_depth"] == 1


def _stem1(in_channels: int, middle: Width, stride: int, choices: Choices) -> Conv:
    return Conv(in_channels, middle(choices), choices["resolution"], 3, stride, "relu")


def _stem2(middle: Width, before: tuple[int, ...], choices: Choices) -> ResidualConv:
    channels = middle(choices)
    return ResidualConv(channels, channels, side_after(choices, before), 3, 1, "relu")


def _stem3(middle: Width, output: Width, before: tuple[int, ...], choices: Choices) -> Conv:
    return Conv(middle(choices), output(choices), side_after(choices, before), 3, 1, "relu")


def _pool(output: Width, before: tuple[int, ...], stride: int, choices: Choices) -> MaxPool:
    channels = output(choices)
    return MaxPool(channels, channels, side_after(choices, before), 3, stride)


def _block(
    choices: Choices,
    *,
    block: int,
    source: Width,
    width: Width,
    before: tuple[int, ...],
    stride: int,
    downsample: bool,
) -> Bottleneck:
    out_channels = width(choices)
    return Bottleneck(
        in_channels=source(choices),
        out_channels=out_channels,
        resolution=side_after(choices, before),
        mid_channels=make_divisible(np.round(out_channels * choices[f"expand.{block}"])),
        kernel_size=3,
        stride=stride,
        activation="relu",
        downsample=downsample,
    )


def _classifier(
    width: Width, num_classes: int, strides: tuple[int, ...], dropout: float, choices: Choices
) -> PoolClassifier:
    return PoolClassifier(width(choices), num_classes, side_after(choices, strides), dropout)
