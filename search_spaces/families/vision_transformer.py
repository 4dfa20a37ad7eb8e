"""Vision transformers (Dosovitskiy et al., https://arxiv.org/abs/2010.11929) with elastic depth, embedding, heads and
MLP as in AutoFormer (https://arxiv.org/abs/2107.00651), and in the same supernet elastic patches (FlexiViT,
https://arxiv.org/abs/2212.08013) and low-rank layers block by block (which MCUFormer, https://arxiv.org/abs/2310.16898,
trains a supernet each for).

The embedding is one width for the whole network, so that every slot reads it; heads, MLP and ranks belong to a block.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.base import Blueprint
from search_spaces.families.settings import Dropout, Factor, Positive, Side, ascending, whole
from search_spaces.genome import Choice, Gene, Genome
from search_spaces.operators import MLP, Attention, PatchEmbedding, TokenClassifier, useful_rank
from search_spaces.space import Choices, Slot

#: how a block mixes its tokens
Form = Literal["softmax", "linear", "convolution"]
#: part of a dense layer's weights that two factors may take; 1: dense
Share = Annotated[float, pydantic.Field(gt=0, le=1)]


class VisionTransformerSettings(Settings):
    """Lists hold the options of the elastic dimensions, sizes in pixels or features.

    `patch` must divide every `resolution`; `mlp` is the hidden width in parts of the embedding; `attention_rank` and
    `mlp_rank` say how many of a dense layer's weights its two factors take (1: it is dense, as it is wherever factors
    would save nothing). `attention` says how blocks may mix tokens: `softmax` and `linear` attention, or a depthwise
    `convolution`, which has neither heads nor rank. Without `class_token`, the mean over all tokens is classified.
    """

    resolution: tuple[Side, ...] = (224,)
    patch: tuple[Positive, ...] = (16,)
    embed: tuple[Positive, ...] = (192, 216, 240)
    depth: tuple[Positive, ...] = (12, 13, 14)
    attention: tuple[Form, ...] = ("softmax",)
    heads: tuple[Positive, ...] = (3, 4)
    mlp: tuple[Factor, ...] = (3.5, 4)
    attention_rank: tuple[Share, ...] = (1,)
    mlp_rank: tuple[Share, ...] = (1,)
    head_dim: Positive = 64
    class_token: bool = True
    dropout: Dropout = 0.0

    @pydantic.field_validator("resolution", "patch", "embed", "depth", "heads", "mlp", "attention_rank", "mlp_rank")
    @classmethod
    def _ascending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("mlp", "attention_rank", "mlp_rank")
    @classmethod
    def _whole(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.model_validator(mode="after")
    def _fits(self) -> VisionTransformerSettings:
        for patch in self.patch:
            for side in self.resolution:
                if side % patch:
                    raise ValueError(f"patch must divide resolution: patches of {patch} px do not fill {side} px")
        if len(set(self.attention)) != len(self.attention) or not self.attention:
            raise ValueError("attention must be one or more forms, without repeats")
        if "convolution" in self.attention and self.class_token:
            raise ValueError("attention: a convolution has no place for a class token: set class_token: false")
        return self


def build(settings: VisionTransformerSettings, num_classes: int, in_channels: int) -> Blueprint:
    """Genome and slots of the family under `settings`."""
    return Blueprint(_genome(settings), tuple(_slots(settings, num_classes, in_channels)))


def _genome(s: VisionTransformerSettings) -> Genome:
    choices = [Choice(name) for name in ("resolution", "patch", "embed", "depth")]
    genes = [Gene.simple(name, getattr(s, name)) for name in ("resolution", "patch", "embed", "depth")]
    for block in range(max(s.depth)):
        deeper = tuple(depth for depth in s.depth if depth > block)
        attends = tuple(form for form in s.attention if form != "convolution")
        for group in ("attention", "heads", "attention_rank", "mlp", "mlp_rank"):
            always = len(deeper) == len(s.depth)
            choice = Choice(group, block) if always else Choice(group, block, "depth", deeper)
            if group in ("heads", "attention_rank") and len(attends) < len(s.attention):
                if not attends:
                    continue
                choice = Choice(group, block, f"attention.{block}", attends)
            choices.append(choice)
            genes.append(Gene.simple(f"{group}.{block}", getattr(s, group)))
    return Genome(choices, genes)


def _slots(s: VisionTransformerSettings, num_classes: int, in_channels: int) -> list[Slot]:
    grid = ("resolution", "patch", "embed")
    slots = [Slot("patches", grid, partial(_patches, in_channels, s.class_token))]
    for block in range(max(s.depth)):
        always = block < min(s.depth)
        present = {} if always else {"present": partial(_deep, block)}
        depth = () if always else ("depth",)
        attention = partial(_attention, block, s.head_dim, s.class_token)
        heads = (f"heads.{block}", f"attention_rank.{block}") if set(s.attention) != {"convolution"} else ()
        mlp = partial(_mlp, block, s.class_token)
        name = f"block{block + 1}"
        reads = (*grid, f"attention.{block}", *heads, *depth)
        slots.append(Slot(f"{name}_attention", reads, attention, **present))
        reads = (*grid, f"mlp.{block}", f"mlp_rank.{block}", *depth)
        slots.append(Slot(f"{name}_mlp", reads, mlp, **present))
    classifier = partial(_classifier, num_classes, s.class_token, s.dropout)
    return [*slots, Slot("classifier", grid, classifier)]


def _deep(block: int, choices: Choices) -> Any:
    return choices["depth"] > block


def _whole(values: Any) -> Any:
    """An int, or an array of them."""
    values = np.asarray(values).astype(np.int64)
    return int(values) if values.ndim == 0 else values


def _side(choices: Choices) -> Any:
    return choices["resolution"] // choices["patch"]


def _patches(in_channels: int, class_token: bool, choices: Choices) -> PatchEmbedding:
    return PatchEmbedding(in_channels, choices["embed"], choices["resolution"], class_token, choices["patch"])


def _attention(block: int, head_dim: int, class_token: bool, choices: Choices) -> Attention:
    """Without heads and rank where the form is a convolution, so that all of these are one operator."""
    embed, form = choices["embed"], choices[f"attention.{block}"]
    attends = np.asarray(form) != "convolution"
    heads, share = (choices.get(f"{group}.{block}") for group in ("heads", "attention_rank"))
    heads, share = (1 if choice is None else choice for choice in (heads, share))  # switched off
    rank = _whole(np.where(attends, useful_rank(share, embed, np.asarray(heads) * head_dim), 0))
    heads = _whole(np.where(attends, heads, 0))
    return Attention(embed, embed, _side(choices), class_token, form, heads, head_dim, rank)


def _mlp(block: int, class_token: bool, choices: Choices) -> MLP:
    embed = choices["embed"]
    hidden = _whole(np.round(embed * np.asarray(choices[f"mlp.{block}"])))
    return MLP(
        embed, embed, _side(choices), class_token, hidden, useful_rank(choices[f"mlp_rank.{block}"], embed, hidden)
    )


def _classifier(num_classes: int, class_token: bool, dropout: float, choices: Choices) -> TokenClassifier:
    return TokenClassifier(choices["embed"], num_classes, _side(choices), class_token, dropout=dropout)
