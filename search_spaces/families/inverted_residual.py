"""What MobileNetV3 and ProxylessNAS have in common: a stem, a first block, then stages of inverted residuals.

Every block has an elastic kernel size and expand ratio, every stage an elastic depth, and the input an elastic
resolution (Cai et al., https://arxiv.org/abs/1908.09791). A family says what its stages look like and adds its head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.base import side_after
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
from search_spaces.operators import NORM_EPS, Conv, MBConv, make_divisible
from search_spaces.space import Choices, Slot

Activation = Literal["relu", "relu6", "hard_swish"]


class InvertedResidualSettings(Settings):
    """Lists hold the options of the elastic dimensions, or one entry per stage."""

    #: settings with one entry per stage, beside `widths`
    per_stage: ClassVar[tuple[str, ...]] = ("strides",)

    resolution: tuple[Side, ...] = tuple(range(128, 225, 4))
    kernel: tuple[Positive, ...] = (3, 5, 7)
    expand: tuple[Annotated[float, pydantic.Field(ge=1)], ...] = (3, 4, 6)
    depth: tuple[Positive, ...] = (2, 3, 4)
    width_mult: Factor = 1.0
    stem_channels: Positive
    stem_kernel: Positive = 3
    stem_stride: Positive = 2
    first_channels: Positive = 16
    first_stride: Positive = 1
    widths: tuple[Positive, ...]
    strides: tuple[Positive, ...]
    max_depths: tuple[Positive, ...] | None = None
    """The most blocks each stage may have, where that is less than `depth` says; options of `depth` beyond it are left
    out, and a restriction of the group `depth` leaves such a stage alone.
    """
    feature_channels: Positive = 1280
    dropout: Dropout = 0.1

    @pydantic.field_validator("resolution", "kernel", "expand", "depth")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("kernel")
    @classmethod
    def _odd(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(value % 2 == 0 for value in values):
            raise ValueError("kernel sizes must be odd")
        return values

    @pydantic.field_validator("expand")
    @classmethod
    def _whole(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> InvertedResidualSettings:
        for key in self.per_stage:
            check_per_stage(key, getattr(self, key), len(self.widths))
        if self.max_depths is not None:
            check_per_stage("max_depths", self.max_depths, len(self.widths))
            if min(self.max_depths) < min(self.depth):
                raise ValueError(f"max_depths leaves a stage no option of depth: the least is {min(self.depth)}")
        if self.stem_kernel % 2 == 0:
            raise ValueError("stem_kernel must be odd")
        check_resolution(self.resolution, math.prod(self.strides) * self.stem_stride * self.first_stride)
        return self

    def depths(self, stage: int) -> tuple[int, ...]:
        """The options of the number of blocks of a stage (from 0)."""
        return self.depth if self.max_depths is None else tuple(d for d in self.depth if d <= self.max_depths[stage])

    def width(self, channels: int) -> int:
        """`channels` as wide as this network has them."""
        return int(make_divisible(channels * self.width_mult))


@dataclass(frozen=True)
class Stage:
    """What the blocks of one stage share. `depths`: the options of the number of blocks."""

    out_channels: int
    stride: int
    depths: tuple[int, ...]
    activation: Activation
    squeeze_excite: bool = False


@dataclass(frozen=True)
class Trunk:
    """Stem, first block and stages, and what the head after them must know."""

    slots: tuple[Slot, ...]
    out_channels: int
    strides: tuple[int, ...]


def genome(s: InvertedResidualSettings, stages: Sequence[Stage], *, compound: bool = False) -> Genome:
    """Genes in the order of the network. `compound`: depth and expand ratio of a stage move together."""
    choices = [Choice("resolution")]
    genes = [Gene.simple("resolution", s.resolution)]
    start = 0
    for stage, depths in enumerate(stage.depths for stage in stages):
        choices.append(Choice("depth", stage, fixed=depths != s.depth))
        blocks = range(start, start + max(depths))
        for kind in ("kernel", "expand"):
            for place, block in enumerate(blocks):
                deeper = tuple(depth for depth in depths if depth > place)
                always = len(deeper) == len(depths)
                choices.append(Choice(kind, block) if always else Choice(kind, block, f"depth.{stage}", deeper))
        if compound:
            names = tuple(f"d{depth}-e{expand}" for depth, expand in zip(depths, s.expand, strict=True))
            drives = [(f"depth.{stage}", depths), *((f"expand.{block}", tuple(s.expand)) for block in blocks)]
            genes.append(Gene(f"compound.{stage}", names, tuple(drives)))
        else:
            genes.append(Gene.simple(f"depth.{stage}", depths))
        for block in blocks:
            genes.append(Gene.simple(f"kernel.{block}", s.kernel))
            if not compound:
                genes.append(Gene.simple(f"expand.{block}", s.expand))
        start = blocks.stop
    return Genome(choices, genes)


def trunk(
    s: InvertedResidualSettings,
    stages: Sequence[Stage],
    *,
    in_channels: int,
    stem_activation: Activation,
    first_activation: Activation,
    first_residual: bool,
    norm_eps: float = NORM_EPS,
) -> Trunk:
    """The slots up to the head. `first_residual`: the first block adds its input where the shapes allow it."""
    stem, channels = s.width(s.stem_channels), s.width(s.first_channels)
    shape = (in_channels, stem, s.stem_kernel, s.stem_stride)
    first = partial(
        _first,
        in_channels=stem,
        out_channels=channels,
        before=(s.stem_stride,),
        stride=s.first_stride,
        activation=first_activation,
        residual=first_residual and s.first_stride == 1 and stem == channels,
        norm_eps=norm_eps,
    )
    slots = [
        Slot("stem", ("resolution",), partial(_stem, *shape, stem_activation, norm_eps)),
        Slot("first", ("resolution",), first),
    ]
    strides: tuple[int, ...] = (s.stem_stride, s.first_stride)
    start = 0
    for number, stage in enumerate(stages):
        for place in range(max(stage.depths)):
            block, stride = start + place, stage.stride if place == 0 else 1
            always = place < min(stage.depths)
            reads = ("resolution", f"kernel.{block}", f"expand.{block}") + (() if always else (f"depth.{number}",))
            operator = partial(
                _block,
                block=block,
                in_channels=channels,
                out_channels=stage.out_channels,
                before=strides,
                stride=stride,
                activation=stage.activation,
                squeeze_excite=stage.squeeze_excite,
                norm_eps=norm_eps,
            )
            name = f"stage{number + 1}_block{place + 1}"
            slots.append(
                Slot(name, reads, operator) if always else Slot(name, reads, operator, partial(_deep, number, place))
            )
            strides, channels = (*strides, stride) if place == 0 else strides, stage.out_channels
        start += max(stage.depths)
    return Trunk(tuple(slots), channels, strides)


def _deep(stage: int, place: int, choices: Choices) -> Any:
    return choices[f"depth.{stage}"] > place


def _stem(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    activation: Activation,
    norm_eps: float,
    choices: Choices,
) -> Conv:
    return Conv(in_channels, out_channels, choices["resolution"], kernel_size, stride, activation, norm_eps)


def _first(
    choices: Choices,
    *,
    in_channels: int,
    out_channels: int,
    before: tuple[int, ...],
    stride: int,
    activation: Activation,
    residual: bool,
    norm_eps: float,
) -> MBConv:
    return MBConv(
        in_channels=in_channels,
        out_channels=out_channels,
        resolution=side_after(choices, before),
        mid_channels=in_channels,
        kernel_size=3,
        stride=stride,
        activation=activation,
        se_channels=0,
        expansion=False,
        residual=residual,
        norm_eps=norm_eps,
    )


def _block(
    choices: Choices,
    *,
    block: int,
    in_channels: int,
    out_channels: int,
    before: tuple[int, ...],
    stride: int,
    activation: Activation,
    squeeze_excite: bool,
    norm_eps: float,
) -> MBConv:
    mid_channels = make_divisible(np.round(in_channels * choices[f"expand.{block}"]))
    return MBConv(
        in_channels=in_channels,
        out_channels=out_channels,
        resolution=side_after(choices, before),
        mid_channels=mid_channels,
        kernel_size=choices[f"kernel.{block}"],
        stride=stride,
        activation=activation,
        se_channels=make_divisible(mid_channels // 4) if squeeze_excite else 0,
        expansion=True,
        residual=stride == 1 and in_channels == out_channels,
        norm_eps=norm_eps,
    )
