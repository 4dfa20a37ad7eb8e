"""What families with transformer blocks have in common: blocks of attention and MLP, each with genes of its own.

The embedding is one width for all blocks, so that every slot reads it; heads, MLP, ranks and the way tokens are mixed
belong to a block (AutoFormer, https://arxiv.org/abs/2107.00651; low rank as in MCUFormer,
https://arxiv.org/abs/2310.16898, which trains a supernet for each). A family says where its tokens come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from search_spaces.common.settings import Settings
from search_spaces.families.settings import Dropout, Factor, Positive, ascending, whole
from search_spaces.genome import Choice, Gene
from search_spaces.operators import MLP, Attention, TokenClassifier, useful_rank
from search_spaces.space import Choices, Slot

#: how a block mixes its tokens
Form = Literal["softmax", "linear", "convolution"]
#: part of a dense layer's weights that two factors may take; 1: dense
Share = Annotated[float, pydantic.Field(gt=0, le=1)]


class TransformerBlockSettings(Settings):
    """Lists hold the options of the elastic dimensions.

    `mlp` is the hidden width in parts of the embedding; `attention_rank` and `mlp_rank` say how many of a dense layer's
    weights its two factors take (1: it is dense, as it is wherever factors would save nothing). `attention` says how
    blocks may mix tokens: `softmax` and `linear` attention, or a depthwise `convolution`, which has neither heads nor
    rank.
    """

    embed: tuple[Positive, ...]
    attention: tuple[Form, ...] = ("softmax",)
    heads: tuple[Positive, ...]
    mlp: tuple[Factor, ...]
    attention_rank: tuple[Share, ...] = (1,)
    mlp_rank: tuple[Share, ...] = (1,)
    head_dim: Positive = 64

    @pydantic.field_validator("embed", "heads", "mlp", "attention_rank", "mlp_rank")
    @classmethod
    def _ascending_options(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("mlp", "attention_rank", "mlp_rank")
    @classmethod
    def _whole_options(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.field_validator("attention")
    @classmethod
    def _some_forms(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("must be one or more forms, without repeats")
        return values


@dataclass(frozen=True)
class Tokens:
    """The tokens that blocks work on: `side(choices)` is that of their grid, which depends on the choices `reads`."""

    reads: tuple[str, ...]
    side: Callable[[Choices], Any]
    class_token: bool


def block_genes(
    s: TransformerBlockSettings, depths: Sequence[int], *, depth: str
) -> tuple[tuple[Choice, ...], tuple[Gene, ...]]:
    """Choices and genes of `max(depths)` blocks, of which as many are there as the choice called `depth` says."""
    choices, genes = [], []
    attends = tuple(form for form in s.attention if form != "convolution")
    for block in range(max(depths)):
        deeper = tuple(option for option in depths if option > block)
        for group in ("attention", "heads", "attention_rank", "mlp", "mlp_rank"):
            always = len(deeper) == len(depths)
            choice = Choice(group, block) if always else Choice(group, block, depth, deeper)
            if group in ("heads", "attention_rank") and len(attends) < len(s.attention):
                if not attends:
                    continue
                choice = Choice(group, block, f"attention.{block}", attends)
            choices.append(choice)
            genes.append(Gene.simple(f"{group}.{block}", getattr(s, group)))
    return tuple(choices), tuple(genes)


def block_slots(s: TransformerBlockSettings, tokens: Tokens, depths: Sequence[int], *, depth: str) -> list[Slot]:
    """The two slots of every block: attention, and MLP."""
    slots = []
    heads_too = set(s.attention) != {"convolution"}
    for block in range(max(depths)):
        always = block < min(depths)
        present = {} if always else {"present": partial(_deep, depth, block)}
        reads = (*tokens.reads, "embed", *(() if always else (depth,)))
        mixing = (f"attention.{block}", *((f"heads.{block}", f"attention_rank.{block}") if heads_too else ()))
        attention = partial(_attention, block, s.head_dim, tokens)
        slots.append(Slot(f"block{block + 1}_attention", (*reads, *mixing), attention, **present))
        mlp = partial(_mlp, block, tokens)
        slots.append(Slot(f"block{block + 1}_mlp", (*reads, f"mlp.{block}", f"mlp_rank.{block}"), mlp, **present))
    return slots


def classifier_slot(tokens: Tokens, num_classes: int, dropout: Dropout) -> Slot:
    return Slot("classifier", (*tokens.reads, "embed"), partial(_classifier, num_classes, tokens, dropout))


def _deep(depth: str, block: int, choices: Choices) -> Any:
    return choices[depth] > block


def _attention(block: int, head_dim: int, tokens: Tokens, choices: Choices) -> Attention:
    """Without heads and rank where the form is a convolution, so that all of these are one operator."""
    embed, form = choices["embed"], choices[f"attention.{block}"]
    attends = np.asarray(form) != "convolution"
    heads, share = (choices.get(f"{group}.{block}") for group in ("heads", "attention_rank"))
    heads, share = (1 if choice is None else choice for choice in (heads, share))  # switched off
    rank = _whole_numbers(np.where(attends, useful_rank(share, embed, np.asarray(heads) * head_dim), 0))
    heads = _whole_numbers(np.where(attends, heads, 0))
    return Attention(embed, embed, tokens.side(choices), tokens.class_token, form, heads, head_dim, rank)


def _mlp(block: int, tokens: Tokens, choices: Choices) -> MLP:
    embed = choices["embed"]
    hidden = _whole_numbers(np.round(embed * np.asarray(choices[f"mlp.{block}"])))
    rank = useful_rank(choices[f"mlp_rank.{block}"], embed, hidden)
    return MLP(embed, embed, tokens.side(choices), tokens.class_token, hidden, rank)


def _classifier(num_classes: int, tokens: Tokens, dropout: float, choices: Choices) -> TokenClassifier:
    return TokenClassifier(choices["embed"], num_classes, tokens.side(choices), tokens.class_token, dropout=dropout)


def _whole_numbers(values: Any) -> Any:
    """An int, or an array of them."""
    values = np.asarray(values).astype(np.int64)
    return int(values) if values.ndim == 0 else values
