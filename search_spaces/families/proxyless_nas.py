"""The ProxylessNAS family of once-for-all networks (Cai et al., https://arxiv.org/abs/1908.09791; the network it grew
from: https://arxiv.org/abs/1812.00332).

MobileNetV2's blocks: no squeeze-excite, ReLU6 throughout. The last stage is always one block.
"""

from __future__ import annotations

from functools import partial

from search_spaces.families.base import Blueprint, side_after
from search_spaces.families.inverted_residual import (
    InvertedResidualSettings,
    Stage,
    genome,
    trunk,
)
from search_spaces.families.settings import Positive
from search_spaces.operators import Conv, PoolClassifier
from search_spaces.space import Choices, Slot

NORM_EPS = 1e-3


class ProxylessNASSettings(InvertedResidualSettings):
    """Defaults are the published network at width 1."""

    stem_channels: Positive = 32
    widths: tuple[Positive, ...] = (24, 40, 80, 96, 192, 320)
    strides: tuple[Positive, ...] = (2, 2, 2, 1, 2, 1)


def build(settings: ProxylessNASSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    s = settings
    depths = [s.depths(number) for number in range(len(s.widths) - 1)] + [(1,)]
    stages = [
        Stage(s.width(width), stride, options, "relu6")
        for width, stride, options in zip(s.widths, s.strides, depths, strict=True)
    ]
    body = trunk(
        s,
        stages,
        in_channels=in_channels,
        stem_activation="relu6",
        first_activation="relu6",
        first_residual=False,
        norm_eps=NORM_EPS,
    )
    features = s.width(s.feature_channels)
    head = (
        Slot("feature_mix", ("resolution",), partial(_feature_mix, body.out_channels, features, body.strides)),
        Slot("classifier", ("resolution",), partial(_classifier, features, num_classes, body.strides, s.dropout)),
    )
    return Blueprint(genome(s, stages), body.slots + head)


def _feature_mix(in_channels: int, out_channels: int, strides: tuple[int, ...], choices: Choices) -> Conv:
    return Conv(in_channels, out_channels, side_after(choices, strides), 1, 1, "relu6", NORM_EPS)


def _classifier(
    in_channels: int, num_classes: int, strides: tuple[int, ...], dropout: float, choices: Choices
) -> PoolClassifier:
    return PoolClassifier(in_channels, num_classes, side_after(choices, strides), dropout)
