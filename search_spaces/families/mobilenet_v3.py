"""The MobileNetV3 family of once-for-all networks (Cai et al., https://arxiv.org/abs/1908.09791).

Widths, strides, stem, activations and squeeze-excite per stage are settings, so that 28 px digits and 224 px
photographs are the same family.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import pydantic

from search_spaces.families.base import Blueprint, side_after
from search_spaces.families.inverted_residual import (
    Activation,
    InvertedResidualSettings,
    Stage,
    genome,
    trunk,
)
from search_spaces.families.settings import Positive
from search_spaces.operators import Classifier, Conv, PoolConv
from search_spaces.space import Choices, Slot


class MobileNetV3Settings(InvertedResidualSettings):
    """Defaults are the published network."""

    per_stage: ClassVar[tuple[str, ...]] = ("strides", "activations", "squeeze_excite")

    coupling: Literal["none", "compound"] = "none"
    stem_channels: Positive = 16
    widths: tuple[Positive, ...] = (24, 40, 80, 112, 160)
    strides: tuple[Positive, ...] = (2, 2, 2, 1, 2)
    activations: tuple[Activation, ...] = ("relu", "relu", "hard_swish", "hard_swish", "hard_swish")
    squeeze_excite: tuple[bool, ...] = (False, True, False, True, True)
    expanded_channels: Positive = 960

    @pydantic.model_validator(mode="after")
    def _coupled(self) -> MobileNetV3Settings:
        if self.coupling == "compound" and len(self.depth) != len(self.expand):
            raise ValueError("coupling: compound pairs depth with expand, so both need the same number of options")
        if self.coupling == "compound" and self.max_depths is not None:
            raise ValueError("coupling: compound pairs depth with expand, which max_depths would take apart")
        return self


def build(settings: MobileNetV3Settings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    s = settings
    per_stage = zip(s.widths, s.strides, s.activations, s.squeeze_excite, strict=True)
    stages = [
        Stage(s.width(width), stride, s.depths(number), act, se)
        for number, (width, stride, act, se) in enumerate(per_stage)
    ]
    body = trunk(
        s,
        stages,
        in_channels=in_channels,
        stem_activation="hard_swish",
        first_activation="relu",
        first_residual=True,
    )
    expanded, features = s.width(s.expanded_channels), s.width(s.feature_channels)
    head = (
        Slot("final_expand", ("resolution",), partial(_final_expand, body.out_channels, expanded, body.strides)),
        Slot("feature_mix", ("resolution",), partial(_feature_mix, expanded, features, body.strides)),
        Slot("classifier", (), partial(_classifier, features, num_classes, s.dropout)),
    )
    return Blueprint(genome(s, stages, compound=s.coupling == "compound"), body.slots + head)


def _final_expand(in_channels: int, out_channels: int, strides: tuple[int, ...], choices: Choices) -> Conv:
    return Conv(in_channels, out_channels, side_after(choices, strides), 1, 1, "hard_swish")


def _feature_mix(in_channels: int, out_channels: int, strides: tuple[int, ...], choices: Choices) -> PoolConv:
    return PoolConv(in_channels, out_channels, side_after(choices, strides), "hard_swish")


def _classifier(in_channels: int, num_classes: int, dropout: float, choices: Choices) -> Classifier:
    return Classifier(in_channels, num_classes, 1, dropout)
