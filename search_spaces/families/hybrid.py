"""Convolutional early stages, attention late (see https://arxiv.org/abs/2106.14881, and CoAtNet,
https://arxiv.org/abs/2106.04803): stages of inverted residuals, then transformer blocks on the pixels of their last
map.

Stages have an elastic depth, kernel and expand ratio, the blocks after them those of `transformer_blocks`; how many
blocks there are is called `layers`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pydantic

from search_spaces.families.base import Blueprint, side_after
from search_spaces.families.inverted_residual import InvertedResidualSettings, Stage, genome, trunk
from search_spaces.families.settings import Factor, Positive, ascending
from search_spaces.families.transformer_blocks import (
    Tokens,
    TransformerBlockSettings,
    block_genes,
    block_slots,
    classifier_slot,
)
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import PatchEmbedding
from search_spaces.space import Choices, Slot


class HybridSettings(InvertedResidualSettings, TransformerBlockSettings):
    """`layers` counts the transformer blocks after the stages. There is no class token: the mean is classified."""

    layers: tuple[Positive, ...] = (1, 2, 3)
    stem_channels: Positive = 16
    widths: tuple[Positive, ...] = (16, 32, 64)
    strides: tuple[Positive, ...] = (1, 2, 2)
    embed: tuple[Positive, ...] = (64, 96, 128)
    heads: tuple[Positive, ...] = (2, 3, 4)
    mlp: tuple[Factor, ...] = (1, 2, 3)
    head_dim: Positive = 32

    @pydantic.field_validator("layers")
    @classmethod
    def _ascending_layers(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return ascending(values)  # type: ignore[return-value]

    @pydantic.model_validator(mode="after")
    def _fits(self) -> HybridSettings:
        for side in self.resolution:
            self.check_grid(
                side_after({"resolution": side}, strides=(self.stem_stride, self.first_stride, *self.strides))
            )
        return self


def build(settings: HybridSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    s = settings
    stages = [
        Stage(s.width(width), stride, s.depths(number), "relu")
        for number, (width, stride) in enumerate(zip(s.widths, s.strides, strict=True))
    ]
    body = trunk(
        s, stages, in_channels=in_channels, stem_activation="relu", first_activation="relu", first_residual=True
    )
    tokens = Tokens(("resolution",), partial(side_after, strides=body.strides), class_token=False)
    to_tokens = Slot("tokens", ("resolution", "embed"), partial(_to_tokens, body.out_channels, tokens))
    blocks = block_slots(s, tokens, s.layers, depth="layers")
    early, (choices, genes) = genome(s, stages), block_genes(s, s.layers, depth="layers")
    whole = ("embed", "layers")
    joined = Genome(
        [*early.choices.values(), *(Choice(name) for name in whole), *choices],
        [*early.genes, *(Gene.simple(name, getattr(s, name)) for name in whole), *genes],
    )
    classifier = classifier_slot(s, tokens, s.layers, num_classes, s.dropout, depth="layers")
    return Blueprint(joined, (*body.slots, to_tokens, *blocks, classifier))


def _to_tokens(in_channels: int, tokens: Tokens, choices: Choices) -> PatchEmbedding:
    """Every pixel of the last map is a patch."""
    side: Any = tokens.side(choices)
    return PatchEmbedding(in_channels, choices["embed"], side, tokens.class_token, 1)
