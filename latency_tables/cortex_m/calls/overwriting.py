"""Blocks of transformers that are written over their own input, token by token.

The schedules are those of Y. Liang et al., MCUFormer: deploying vision transformers on microcontrollers with limited
memory, NeurIPS 2023 (https://arxiv.org/abs/2310.16898): operators are integrated, and tokens overwritten.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from latency_tables.cortex_m.calls.dense import Pointwise
from latency_tables.cortex_m.calls.elementwise import Add
from latency_tables.cortex_m.calls.fused import SPARE, Fused, rows_in_turn
from latency_tables.cortex_m.calls.linear_attention import LinearAttention
from latency_tables.cortex_m.calls.tokens import Attention, LayerNorm
from latency_tables.cortex_m.program import Call, Word

#: so many layers `struct overwriting_mlp` has room for
MOST_LAYERS = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class OverwritingAttention(Fused):
    """x + project(attention of norm(x)). Each of `query`, `key`, `value` and `project` is a linear layer, or two; the
    first three have as many layers each.
    """

    kernel = "overwriting_attention"

    norm: LayerNorm
    query: Sequence[Pointwise]
    key: Sequence[Pointwise]
    value: Sequence[Pointwise]
    attention: Attention
    project: Sequence[Pointwise]
    add: Add

    @property
    def geometry(self) -> tuple[int, ...]:
        return (int(isinstance(self.attention, LinearAttention)), *super().geometry)

    @property
    def roles(self) -> Mapping[str, Call]:
        roles: dict[str, Call] = {"norm": self.norm}
        for name in ("query", "key", "value", "project"):
            layers = getattr(self, name)
            roles |= dict(zip((f"{name}_first", f"{name}_second")[-len(layers) :], layers, strict=True))
        return roles | {"attention": self.attention, "add": self.add}

    @property
    def _all(self) -> bool:
        """Whether keys and values of all heads take no more than those of one and all first factors."""
        factors = [len(layers[0].weights) for layers in (self.key, self.value) if len(layers) > 1]
        return bool(factors) and 2 * (self.attention.heads - 1) * self.attention.features <= sum(factors)

    def _places(self) -> dict[str, int]:
        """The "end" of the scratch memory; offsets in it, and what is done, in the order of the struct."""
        tokens, features = self.attention.tokens, self.attention.features
        heads = tokens * self.attention.heads * features
        keys, several = heads, heads if self._all else tokens * features
        values = keys + several
        scores = values + several
        ranks = [len(layers[0].weights) for layers in (self.query, self.key, self.value) if len(layers) > 1]
        pair = min(2, tokens) * (len(self.norm.scale) + max(ranks, default=0)) + SPARE
        kept = bool(ranks) and not self._all  # factors: then keys are not yet there when tokens are normed
        rows = keys if kept else scores
        factors = max(scores + self.attention.scratch_bytes, rows + pair)
        even, odd = rows_in_turn([*self.project])
        end = max(factors + (tokens * sum(ranks[1:]) + SPARE if kept else 0), keys + even + odd)
        places = {"keys": keys, "values": values, "scores": scores, "rows": rows, "factors": factors}
        kinds = {"all": int(self._all), "is_linear": int(isinstance(self.attention, LinearAttention))}
        return {"end": end} | places | {"even": keys, "odd": keys + even} | kinds

    @property
    def scratch_bytes(self) -> int:
        return self._places()["end"]

    def arguments(self) -> list[Word]:
        places = self._places()
        places.pop("end")
        parts: list[Word] = ["x", "y", "scratch", *places.values(), *self.nested("norm")]
        for name in ("query", "key", "value"):
            parts += [*self.nested_layer(f"{name}_first"), *self.nested(f"{name}_second")]
        parts += self.nested("attention")
        parts += [*self.nested_layer("project_first"), *self.nested("project_second")]
        return [*parts, *self.nested("add")]


@dataclass(frozen=True, eq=False, kw_only=True)
class OverwritingMLP(Fused):
    """x + the layers of norm(x); there are up to `MOST_LAYERS`."""

    kernel = "overwriting_mlp"

    norm: LayerNorm
    layers: Sequence[Pointwise]
    add: Add

    @property
    def roles(self) -> Mapping[str, Call]:
        layers = {f"layer{number}": layer for number, layer in enumerate(self.layers)}
        return {"norm": self.norm, **layers, "add": self.add}

    @property
    def scratch_bytes(self) -> int:
        return sum(rows_in_turn([*self.layers]))

    def arguments(self) -> list[Word]:
        layers = [word for number in range(MOST_LAYERS) for word in self.nested_layer(f"layer{number}")]
        numbers = [rows_in_turn([*self.layers])[0], len(self.layers)]
        return ["x", "y", "scratch", *numbers, *self.nested("norm"), *layers, *self.nested("add")]
