"""Attention elastic in embedding, heads, rank, form and the number of tokens that go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.base import channel_order
from search_spaces.elastic.tokens import ElasticGridConv2d, ElasticLayerNorm, ElasticLinear
from search_spaces.elastic.transformer import ElasticTransformerBlock
from search_spaces.operators import WINDOW, Attention
from search_spaces.plain.attention import (
    attention_in_windows,
    heads_of,
    linear_attention,
    most_attended,
    scored_attention,
)


class ElasticAttention(ElasticTransformerBlock):
    """All forms but the convolution share all weights. In `hilo`, heads take turns to look far and near: the first
    heads are of both kinds, however many there are.
    """

    def __init__(self, operators: Sequence[Attention]) -> None:
        super().__init__()
        first, width = operators[0], max(op.in_channels for op in operators)
        assert len({(op.head_dim, op.norm_eps) for op in operators}) == 1, "these may not change within a slot"
        self.head_dim = first.head_dim
        self.takes_turns = any(op.form == "hilo" for op in operators)
        self.norm = ElasticLayerNorm(width, first.norm_eps)
        attentive = [op for op in operators if op.form != "convolution"]
        if len(attentive) < len(operators):
            self.mix = ElasticGridConv2d(width)
        if attentive:
            features, ranks = max(op.features for op in attentive), [op.rank for op in attentive]
            self.query = ElasticLinear(width, features, ranks)
            self.key = ElasticLinear(width, features, ranks)
            self.value = ElasticLinear(width, features, ranks)
            self.project = ElasticLinear(features, width, ranks)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, operator: Attention) -> Tensor:
        normed = self.norm(x)
        if operator.form == "convolution":
            branch = self.mix(normed)
        else:
            layers = (self.query, self.key, self.value)
            query, key, value = (layer(normed, operator.features, operator.rank) for layer in layers)
            if operator.form == "hilo":
                mixed = self._look_near_and_far(query, key, value, operator)
            elif operator.drops:
                x, mixed = self._attend_and_drop(x, query, key, value, operator)
            else:
                mixed = self._attend(query, key, value, operator)
            branch = self.project(mixed, operator.out_channels, operator.rank)
        out: Tensor = x + self.drop_path(branch)
        return out

    def _heads(self, query: Tensor, key: Tensor, value: Tensor, operator: Attention) -> tuple[Tensor, Tensor, Tensor]:
        if operator.form == "linear":
            query, key = F.relu(query), F.relu(key)
        return heads_of(query, self.head_dim), heads_of(key, self.head_dim), heads_of(value, self.head_dim)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, operator: Attention) -> Tensor:
        attention = linear_attention if operator.form == "linear" else F.scaled_dot_product_attention
        mixed: Tensor = attention(*self._heads(query, key, value, operator))
        return mixed.transpose(1, 2).flatten(2)

    def _attend_and_drop(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, operator: Attention
    ) -> tuple[Tensor, Tensor]:
        weights, values, scores_BN = scored_attention(*self._heads(query, key, value, operator), operator)
        if operator.class_token:
            scores_BN = F.pad(scores_BN[:, 1:], (1, 0), value=torch.inf)
        return most_attended(x, weights, values, scores_BN, int(operator.num_kept))

    def _look_near_and_far(self, query: Tensor, key: Tensor, value: Tensor, operator: Attention) -> Tensor:
        """The averages of windows are those of keys and values here: their layers are linear, so it is the same."""
        side, parts = operator.resolution, [part.unflatten(-1, (-1, self.head_dim)) for part in (query, key, value)]
        far_query, far_key, far_value = (part[:, :, 0::2] for part in parts)
        near_query, near_key, near_value = (part[:, :, 1::2].flatten(2) for part in parts)
        near = attention_in_windows(near_query, near_key, near_value, side, self.head_dim)
        far = F.scaled_dot_product_attention(
            far_query.transpose(1, 2),
            _averages(far_key, side).transpose(1, 2),
            _averages(far_value, side).transpose(1, 2),
        )
        mixed = torch.empty_like(parts[0])
        mixed[:, :, 0::2] = far.transpose(1, 2)
        mixed[:, :, 1::2] = near.unflatten(-1, (-1, self.head_dim))
        return mixed.flatten(2)

    def slices(self, operator: Attention) -> Iterator[tuple[str, Tensor]]:
        width, features = operator.in_channels, operator.features
        yield from self.norm.slices("norm", width)
        if operator.form == "convolution":
            yield from self.mix.slices("mix", width)
        elif operator.form == "hilo":
            yield from self._near_and_far_slices(operator)
        else:
            for name in ("query", "key", "value"):
                yield from getattr(self, name).slices(name, width, features, operator.rank)
            yield from self.project.slices("project", features, width, operator.rank)

    def _far_first(self, num_features: int) -> Tensor:
        """The order of features in which the heads that look far come first."""
        features = torch.arange(num_features, device=self.norm.weight.device).unflatten(0, (-1, self.head_dim))
        return torch.cat([features[0::2].flatten(), features[1::2].flatten()])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the weights of the one network of `hilo` that there is room for, too."""
        if f"{prefix}query.far.weight" in state_dict:
            for name, part in itertools.product(("query", "key", "value"), ("weight", "bias")):
                layer = f"{prefix}{name}"
                joined = torch.cat([state_dict.pop(f"{layer}.{heads}.{part}") for heads in ("far", "near")])
                order = self._far_first(len(joined))
                writer = f"{layer}.factor_out" if f"{layer}.factor_in.weight" in state_dict else layer
                state_dict[f"{writer}.{part}"] = joined[order.argsort()]
            reader = f"{prefix}project.factor_in.weight"
            reader = reader if reader in state_dict else f"{prefix}project.weight"
            state_dict[reader] = state_dict[reader][:, order.argsort()]
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _near_and_far_slices(self, operator: Attention) -> Iterator[tuple[str, Tensor]]:
        """The plain module has the heads that look far first, and layers of their own for them."""
        rank, width, num_far = operator.rank, operator.in_channels, operator.global_heads * self.head_dim
        order = self._far_first(operator.features)
        for name in ("query", "key", "value"):
            for part, tensor in getattr(self, name).slices(name, width, operator.features, rank):
                if part == f"{name}.factor_in.weight":
                    yield part, tensor
                    continue
                far, near = tensor[order].split([num_far, len(order) - num_far])
                kind = part.rpartition(".")[2]
                yield f"{name}.far.{kind}", far
                yield f"{name}.near.{kind}", near
        reader = "project.factor_in.weight" if rank else "project.weight"
        for part, tensor in self.project.slices("project", operator.features, width, rank):
            yield part, tensor[:, order] if part == reader else tensor

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[Attention]) -> None:
        """Importance of a head: L1 norm of the projection weights that read it."""
        if not hasattr(self, "project"):
            return
        importance = self.project.importance_of_inputs().unflatten(0, (-1, self.head_dim)).sum(dim=1)
        heads = torch.arange(len(importance), device=importance.device)
        widths = [op.heads for op in trained if op.form != "convolution"]
        turns = 2 if self.takes_turns else 1  # a head that looks far must not become one that looks near
        for turn in range(turns):
            order = channel_order(importance[turn::turns], [(width - turn + turns - 1) // turns for width in widths])
            heads[turn::turns] = heads[turn::turns][order]
        order = torch.arange(self.head_dim * len(heads), device=heads.device).unflatten(0, (-1, self.head_dim))
        order = order[heads].flatten()
        for layer in (self.query, self.key, self.value):
            layer.reorder_outputs(order)
        self.project.reorder_inputs(order)


def _averages(x_BNHD: Tensor, side: int) -> Tensor:
    """(B, windows, H, D): the means of the windows of the grid."""
    num = side // WINDOW
    return x_BNHD.unflatten(1, (num, WINDOW, num, WINDOW)).mean(dim=(2, 4)).flatten(1, 2)
