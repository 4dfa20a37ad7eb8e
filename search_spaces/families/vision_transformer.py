"""Vision transformers (Dosovitskiy et al., https://arxiv.org/abs/2010.11929) with elastic depth, embedding, heads and
MLP as in AutoFormer (https://arxiv.org/abs/2107.00651), and in the same supernet elastic patches (FlexiViT,
https://arxiv.org/abs/2212.08013), low-rank layers and ways to mix tokens block by block.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pydantic

from search_spaces.families.base import Blueprint
from search_spaces.families.settings import Dropout, Factor, Positive, Side, ascending
from search_spaces.families.transformer_blocks import (
    Tokens,
    TransformerBlockSettings,
    block_genes,
    block_slots,
    classifier_slot,
)
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import GRID_FORMS, PatchEmbedding
from search_spaces.space import Choices, Slot


class VisionTransformerSettings(TransformerBlockSettings):
    """Sizes in pixels or features; `patch` must divide every `resolution`. Without `class_token`, the mean over all
    tokens is classified. Defaults are AutoFormer-T's.
    """

    resolution: tuple[Side, ...] = (224,)
    patch: tuple[Positive, ...] = (16,)
    depth: tuple[Positive, ...] = (12, 13, 14)
    embed: tuple[Positive, ...] = (192, 216, 240)
    heads: tuple[Positive, ...] = (3, 4)
    mlp: tuple[Factor, ...] = (3.5, 4)
    class_token: bool = True
    dropout: Dropout = 0.0

    @pydantic.field_validator("resolution", "patch", "depth")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> VisionTransformerSettings:
        for patch in self.patch:
            for side in self.resolution:
                if side % patch:
                    raise ValueError(f"patch must divide resolution: patches of {patch} px do not fill {side} px")
                self.check_grid(side // patch)
        for form in GRID_FORMS:
            if form in self.attention and self.class_token:
                raise ValueError(f"attention: {form} has no place for a class token: set class_token: false")
        return self


def build(settings: VisionTransformerSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    s, whole = settings, ("resolution", "patch", "embed", "depth")
    choices, genes = block_genes(s, s.depth, depth="depth")
    genome = Genome(
        [*(Choice(name) for name in whole), *choices],
        [*(Gene.simple(name, getattr(s, name)) for name in whole), *genes],
    )
    tokens = Tokens(("resolution", "patch"), _side, s.class_token)
    patches = Slot("patches", (*tokens.reads, "embed"), partial(_patches, in_channels, s.class_token))
    blocks = block_slots(s, tokens, s.depth, depth="depth")
    classifier = classifier_slot(s, tokens, s.depth, num_classes, s.dropout, depth="depth")
    return Blueprint(genome, (patches, *blocks, classifier))


def _side(choices: Choices) -> Any:
    return choices["resolution"] // choices["patch"]


def _patches(in_channels: int, class_token: bool, choices: Choices) -> PatchEmbedding:
    return PatchEmbedding(in_channels, choices["embed"], choices["resolution"], class_token, choices["patch"])
