"""The MobileNetV3 family of once-for-all networks (Cai et al., https://arxiv.org/abs/1908.09791).

Stages of inverted residuals; every block has an elastic kernel size and expand ratio, every stage an elastic depth,
and the input an elastic resolution. Widths, strides, stem, activations and squeeze-excite per stage are settings, so
that 28 px digits and 224 px photographs are the same family.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.base import Blueprint
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import Classifier, Conv, MBConv, PoolConv, make_divisible, output_side
from search_spaces.space import Choices, Slot

Activation = Literal["relu", "relu6", "hard_swish"]
Positive = Annotated[int, pydantic.Field(ge=1)]


class MobileNetV3Settings(Settings):
    """Lists hold the options of the elastic dimensions, or one entry per stage. Defaults are the published network."""

    resolution: tuple[Annotated[int, pydantic.Field(ge=8)], ...] = tuple(range(128, 225, 4))
    kernel: tuple[Positive, ...] = (3, 5, 7)
    expand: tuple[Annotated[float, pydantic.Field(ge=1)], ...] = (3, 4, 6)
    depth: tuple[Positive, ...] = (2, 3, 4)
    coupling: Literal["none", "compound"] = "none"
    width_mult: Annotated[float, pydantic.Field(gt=0)] = 1.0
    stem_channels: Positive = 16
    stem_kernel: Positive = 3
    stem_stride: Positive = 2
    first_channels: Positive = 16
    first_stride: Positive = 1
    widths: tuple[Positive, ...] = (24, 40, 80, 112, 160)
    strides: tuple[Positive, ...] = (2, 2, 2, 1, 2)
    activations: tuple[Activation, ...] = ("relu", "relu", "hard_swish", "hard_swish", "hard_swish")
    squeeze_excite: tuple[bool, ...] = (False, True, False, True, True)
    expanded_channels: Positive = 960
    feature_channels: Positive = 1280
    dropout: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.1

    @pydantic.field_validator("resolution", "kernel", "expand", "depth")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or list(values) != sorted(set(values)):
            raise ValueError("must be one or more values, ascending and without repeats")
        return values

    @pydantic.field_validator("kernel")
    @classmethod
    def _odd(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if any(value % 2 == 0 for value in values):
            raise ValueError("kernel sizes must be odd")
        return values

    @pydantic.field_validator("expand")
    @classmethod
    def _whole(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(int(value) if float(value).is_integer() else value for value in values)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> MobileNetV3Settings:
        for key in ("strides", "activations", "squeeze_excite"):
            if len(getattr(self, key)) != len(self.widths):
                raise ValueError(
                    f"{key} needs one entry per stage: widths has {len(self.widths)}, {key} {len(getattr(self, key))}"
                )
        if self.stem_kernel % 2 == 0:
            raise ValueError("stem_kernel must be odd")
        if self.coupling == "compound" and len(self.depth) != len(self.expand):
            raise ValueError("coupling: compound pairs depth with expand, so both need the same number of options")
        total = math.prod(self.strides) * self.stem_stride * self.first_stride
        if min(self.resolution) < total / 2:
            raise ValueError(
                f"resolution {min(self.resolution)} is too small for a total stride of {total}: use smaller strides"
            )
        return self


def build(settings: MobileNetV3Settings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    return Blueprint(_genome(settings), tuple(_slots(settings, num_classes, in_channels)))


def _genome(s: MobileNetV3Settings) -> Genome:
    stages, deepest = range(len(s.widths)), max(s.depth)
    choices = [Choice("resolution")]
    genes = [Gene.simple("resolution", s.resolution)]
    for stage in stages:
        choices.append(Choice("depth", stage))
        blocks = range(stage * deepest, (stage + 1) * deepest)
        for kind in ("kernel", "expand"):
            for place, block in enumerate(blocks):
                deeper = tuple(depth for depth in s.depth if depth > place)
                always = len(deeper) == len(s.depth)
                choices.append(Choice(kind, block) if always else Choice(kind, block, f"depth.{stage}", deeper))
        if s.coupling == "compound":
            names = tuple(f"d{depth}-e{expand}" for depth, expand in zip(s.depth, s.expand, strict=True))
            drives = [(f"depth.{stage}", tuple(s.depth)), *((f"expand.{block}", tuple(s.expand)) for block in blocks)]
            genes.append(Gene(f"compound.{stage}", names, tuple(drives)))
        else:
            genes.append(Gene.simple(f"depth.{stage}", s.depth))
        for block in blocks:
            genes.append(Gene.simple(f"kernel.{block}", s.kernel))
            if s.coupling == "none":
                genes.append(Gene.simple(f"expand.{block}", s.expand))
    return Genome(choices, genes)


def _slots(s: MobileNetV3Settings, num_classes: int, in_channels: int) -> list[Slot]:
    def width(channels: int) -> int:
        return int(make_divisible(channels * s.width_mult))

    stem, first = width(s.stem_channels), width(s.first_channels)
    slots = [
        Slot("stem", ("resolution",), partial(_stem, in_channels, stem, s.stem_kernel, s.stem_stride)),
        Slot("first", ("resolution",), partial(_first, stem, first, s.stem_stride, s.first_stride)),
    ]
    strides: tuple[int, ...] = (s.stem_stride, s.first_stride)
    channels, deepest = first, max(s.depth)
    for stage, out_channels in enumerate(width(w) for w in s.widths):
        for place in range(deepest):
            block, stride = stage * deepest + place, s.strides[stage] if place == 0 else 1
            always = place < min(s.depth)
            reads = ("resolution", f"kernel.{block}", f"expand.{block}") + (() if always else (f"depth.{stage}",))
            operator = partial(
                _block,
                block=block,
                in_channels=channels,
                out_channels=out_channels,
                before=strides,
                stride=stride,
                activation=s.activations[stage],
                squeeze_excite=s.squeeze_excite[stage],
            )
            name = f"stage{stage + 1}_block{place + 1}"
            slots.append(
                Slot(name, reads, operator) if always else Slot(name, reads, operator, partial(_deep, stage, place))
            )
            strides, channels = (*strides, stride) if place == 0 else strides, out_channels
    expanded, features = width(s.expanded_channels), width(s.feature_channels)
    slots += [
        Slot("final_expand", ("resolution",), partial(_final_expand, channels, expanded, strides)),
        Slot("feature_mix", ("resolution",), partial(_feature_mix, expanded, features, strides)),
        Slot("classifier", (), partial(_classifier, features, num_classes, s.dropout)),
    ]
    return slots


def _side(choices: Choices, strides: tuple[int, ...]) -> Any:
    side = choices["resolution"]
    for stride in strides:
        side = output_side(side, stride)
    return side


def _deep(stage: int, place: int, choices: Choices) -> Any:
    return choices[f"depth.{stage}"] > place


def _stem(in_channels: int, out_channels: int, kernel_size: int, stride: int, choices: Choices) -> Conv:
    return Conv(in_channels, out_channels, choices["resolution"], kernel_size, stride, "hard_swish")


def _first(in_channels: int, out_channels: int, stem_stride: int, stride: int, choices: Choices) -> MBConv:
    return MBConv(
        in_channels=in_channels,
        out_channels=out_channels,
        resolution=_side(choices, (stem_stride,)),
        mid_channels=in_channels,
        kernel_size=3,
        stride=stride,
        activation="relu",
        se_channels=0,
        expansion=False,
        residual=stride == 1 and in_channels == out_channels,
    )


def _block(
    choices: Choices,
    *,
    block: int,
    in_channels: int,
    out_channels: int,
    before: tuple[int, ...],
    stride: int,
    activation: str,
    squeeze_excite: bool,
) -> MBConv:
    mid_channels = make_divisible(np.round(in_channels * choices[f"expand.{block}"]))
    return MBConv(
        in_channels=in_channels,
        out_channels=out_channels,
        resolution=_side(choices, before),
        mid_channels=mid_channels,
        kernel_size=choices[f"kernel.{block}"],
        stride=stride,
        activation=activation,
        se_channels=make_divisible(mid_channels // 4) if squeeze_excite else 0,
        expansion=True,
        residual=stride == 1 and in_channels == out_channels,
    )


def _final_expand(in_channels: int, out_channels: int, strides: tuple[int, ...], choices: Choices) -> Conv:
    return Conv(in_channels, out_channels, _side(choices, strides), 1, 1, "hard_swish")


def _feature_mix(in_channels: int, out_channels: int, strides: tuple[int, ...], choices: Choices) -> PoolConv:
    return PoolConv(in_channels, out_channels, _side(choices, strides), "hard_swish")


def _classifier(in_channels: int, num_classes: int, dropout: float, choices: Choices) -> Classifier:
    return Classifier(in_channels, num_classes, 1, dropout)
