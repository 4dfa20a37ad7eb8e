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
from search_spaces.families.settings import Factor, Positive, ascending, whole
from search_spaces.genome import Choice, Gene
from search_spaces.operators import GRID_FORMS, MLP, WINDOW, Attention, TokenClassifier, useful_rank
from search_spaces.space import Choices, Slot

#: how a block mixes its tokens
Form = Literal["softmax", "linear", "hilo", "convolution"]
#: part of a dense layer's weights that two factors may take; 1: dense
Share = Annotated[float, pydantic.Field(gt=0, le=1)]


class TransformerBlockSettings(Settings):
    """Lists hold the options of the elastic dimensions.

    `mlp` is the hidden width in parts of the embedding; `attention_rank` and `mlp_rank` say how many of a dense layer's
    weights its two factors take (1: it is dense, as it is wherever factors would save nothing). `attention` says how
    blocks may mix tokens: `softmax` and `linear` attention, `hilo`, which looks at windows of the grid, or a depthwise
    `convolution`, which has neither heads nor rank.

    The blocks `selects`, counted from 1, as far as there are so many, each keep a part of the tokens that reach them,
    one of `keep`; from the first of them on there is no whole grid any more, and blocks mix tokens by `softmax` and
    `linear` attention only.
    """

    embed: tuple[Positive, ...]
    attention: tuple[Form, ...] = ("softmax",)
    heads: tuple[Positive, ...]
    mlp: tuple[Factor, ...]
    attention_rank: tuple[Share, ...] = (1,)
    mlp_rank: tuple[Share, ...] = (1,)
    selects: tuple[Positive, ...] = ()
    keep: tuple[Share, ...] = (1,)
    head_dim: Positive = 64

    @pydantic.field_validator("embed", "heads", "mlp", "attention_rank", "mlp_rank", "keep")
    @classmethod
    def _ascending_options(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return ascending(values)

    @pydantic.field_validator("selects")
    @classmethod
    def _ascending_blocks(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return ascending(values) if values else values  # type: ignore[return-value]

    @pydantic.field_validator("mlp", "attention_rank", "mlp_rank", "keep")
    @classmethod
    def _whole_options(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return whole(values)

    @pydantic.field_validator("attention")
    @classmethod
    def _some_forms(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("must be one or more forms, without repeats")
        return values

    @pydantic.model_validator(mode="after")
    def _forms_fit(self) -> TransformerBlockSettings:
        if "hilo" in self.attention and min(self.heads) < 2:
            raise ValueError("attention: hilo has heads of two kinds: heads must be 2 or more")
        if self.selects and set(self.attention) <= set(GRID_FORMS):
            raise ValueError("attention: blocks that select tokens need softmax or linear attention")
        if self.keep != (1,) and not self.selects:
            raise ValueError("keep: no block selects tokens: name some in selects")
        return self

    def forms(self, block: int) -> tuple[str, ...]:
        """How a block, counted from 0, may mix its tokens."""
        whole_grid = not self.selects or block + 1 < self.selects[0]
        return tuple(form for form in self.attention if whole_grid or form not in GRID_FORMS)

    def check_grid(self, side: int) -> None:
        """Raises `ValueError` for a grid of tokens that has no windows."""
        if "hilo" in self.attention and side % WINDOW:
            raise ValueError(
                f"attention: hilo needs a grid with an even number of rows, not one of {side}x{side} tokens"
            )


@dataclass(frozen=True)
class Tokens:
    """The tokens that blocks work on: `side(choices)` is that of their grid, which depends on the choices `reads`."""

    reads: tuple[str, ...]
    side: Callable[[Choices], Any]
    class_token: bool


@dataclass(frozen=True)
class Selection:
    """Which blocks, counted from 0, drop tokens, each by a choice `keep.N`. Blocks beyond the depth, which the choice
    `depth` tells, drop none.
    """

    blocks: tuple[int, ...]
    depth: str
    min_depth: int

    def reads(self, before: int) -> tuple[str, ...]:
        """What the number of tokens in front of block `before` depends on, beside the grid."""
        selecting = [block for block in self.blocks if block < before]
        keeps = tuple(f"keep.{number}" for number in range(len(selecting)))
        return (*keeps, *((self.depth,) if selecting and selecting[-1] >= self.min_depth else ()))

    def kept(self, tokens: Tokens, before: int, choices: Choices) -> Any:
        """How many tokens of the grid are left in front of block `before`."""
        num = np.asarray(tokens.side(choices)) ** 2
        for number, block in enumerate(self.blocks):
            if block >= before:
                break
            share = choices[f"keep.{number}"]
            share = 1 if share is None else share
            if block >= self.min_depth:
                share = np.where(np.asarray(choices[self.depth]) > block, share, 1)
            num = np.ceil(num * np.asarray(share) - 1e-9)
        return _whole_numbers(num)

    def dropped(self, tokens: Tokens, before: int, choices: Choices) -> Any:
        """How many are gone."""
        return _whole_numbers(np.asarray(tokens.side(choices)) ** 2 - self.kept(tokens, before, choices))


def block_genes(
    s: TransformerBlockSettings, depths: Sequence[int], *, depth: str
) -> tuple[tuple[Choice, ...], tuple[Gene, ...]]:
    """Choices and genes of `max(depths)` blocks, of which as many are there as the choice called `depth` says."""
    choices, genes = [], []

    def add(group: str, number: int, block: int, options: Sequence[Any]) -> None:
        deeper = tuple(option for option in depths if option > block)
        always = len(deeper) == len(depths)
        choices.append(Choice(group, number) if always else Choice(group, number, depth, deeper))
        genes.append(Gene.simple(f"{group}.{number}", options))

    for number, selecting in enumerate(_selection(s, depths, depth).blocks):
        add("keep", number, selecting, s.keep)
    for block in range(max(depths)):
        forms = s.forms(block)
        add("attention", block, block, forms)
        attends = tuple(form for form in forms if form != "convolution")
        for group in ("heads", "attention_rank", "mlp", "mlp_rank"):
            if group not in ("heads", "attention_rank") or len(attends) == len(forms):
                add(group, block, block, getattr(s, group))
            elif attends:
                choices.append(Choice(group, block, f"attention.{block}", attends))
                genes.append(Gene.simple(f"{group}.{block}", getattr(s, group)))
    return tuple(choices), tuple(genes)


def block_slots(s: TransformerBlockSettings, tokens: Tokens, depths: Sequence[int], *, depth: str) -> list[Slot]:
    """The two slots of every block: attention, and MLP."""
    slots, selection = [], _selection(s, depths, depth)
    for block in range(max(depths)):
        always = block < min(depths)
        present = {} if always else {"present": partial(_deep, depth, block)}
        heads_too = set(s.forms(block)) != {"convolution"}
        mixing = (f"attention.{block}", *((f"heads.{block}", f"attention_rank.{block}") if heads_too else ()))
        hidden = (f"mlp.{block}", f"mlp_rank.{block}")
        attention, mlp = (partial(make, block, s, tokens, selection) for make in (_attention, _mlp))
        for name, own, make in (("attention", mixing, attention), ("mlp", hidden, mlp)):
            reads = (*tokens.reads, "embed", *(() if always else (depth,)), *selection.reads(block + 1), *own)
            slots.append(Slot(f"block{block + 1}_{name}", tuple(dict.fromkeys(reads)), make, **present))
    return slots


def classifier_slot(
    s: TransformerBlockSettings, tokens: Tokens, depths: Sequence[int], num_classes: int, dropout: float, *, depth: str
) -> Slot:
    selection = _selection(s, depths, depth)
    make = partial(_classifier, num_classes, tokens, selection, max(depths), dropout)
    return Slot("classifier", (*tokens.reads, "embed", *selection.reads(max(depths))), make)


def _selection(s: TransformerBlockSettings, depths: Sequence[int], depth: str) -> Selection:
    return Selection(tuple(block - 1 for block in s.selects if block <= max(depths)), depth, min(depths))


def _deep(depth: str, block: int, choices: Choices) -> Any:
    return choices[depth] > block


def _attention(
    block: int, s: TransformerBlockSettings, tokens: Tokens, selection: Selection, choices: Choices
) -> Attention:
    """Without heads and rank where the form is a convolution, so that all of these are one operator."""
    embed, form = choices["embed"], choices[f"attention.{block}"]
    attends = np.asarray(form) != "convolution"
    heads, share = (choices.get(f"{group}.{block}") for group in ("heads", "attention_rank"))
    heads, share = (1 if choice is None else choice for choice in (heads, share))  # switched off
    rank = _whole_numbers(np.where(attends, useful_rank(share, embed, np.asarray(heads) * s.head_dim), 0))
    heads = _whole_numbers(np.where(attends, heads, 0))
    dropped = selection.dropped(tokens, block, choices)
    drops = selection.dropped(tokens, block + 1, choices) - dropped
    side = tokens.side(choices)
    return Attention(embed, embed, side, tokens.class_token, dropped, form, heads, s.head_dim, rank, drops)


def _mlp(block: int, s: TransformerBlockSettings, tokens: Tokens, selection: Selection, choices: Choices) -> MLP:
    embed, dropped = choices["embed"], selection.dropped(tokens, block + 1, choices)
    hidden = _whole_numbers(np.round(embed * np.asarray(choices[f"mlp.{block}"])))
    rank = useful_rank(choices[f"mlp_rank.{block}"], embed, hidden)
    return MLP(embed, embed, tokens.side(choices), tokens.class_token, dropped, hidden, rank)


def _classifier(
    num_classes: int, tokens: Tokens, selection: Selection, depth: int, dropout: float, choices: Choices
) -> TokenClassifier:
    dropped = selection.dropped(tokens, depth, choices)
    return TokenClassifier(
        choices["embed"], num_classes, tokens.side(choices), tokens.class_token, dropped, dropout=dropout
    )


def _whole_numbers(values: Any) -> Any:
    """An int, or an array of them."""
    values = np.asarray(values).astype(np.int64)
    return int(values) if values.ndim == 0 else values
