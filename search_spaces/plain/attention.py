"""The ways in which the tokens of a block see one another, and which tokens go on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.operators import WINDOW, Attention
from search_spaces.plain.transformer import TransformerBlock, linear

#: keeps a query without any key from dividing by zero
LINEAR_ATTENTION_EPS = 1e-6


class PlainSplitLinear(nn.Module):
    """A linear layer whose outputs are for heads that look near, or far; the latter are made from `far_x`, if given."""

    def __init__(self, in_features: int, near_features: int, far_features: int, rank: int) -> None:
        super().__init__()
        self.has_factors = bool(rank)
        if rank:
            self.factor_in = nn.Linear(in_features, rank, bias=False)
        self.near = nn.Linear(rank or in_features, near_features)
        self.far = nn.Linear(rank or in_features, far_features)

    def forward(self, x: Tensor, far_x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.factor_in(x) if self.has_factors else x
        near = self.near(x)
        if far_x is not None:
            x = self.factor_in(far_x) if self.has_factors else far_x
        return near, self.far(x)


class PlainAttention(TransformerBlock):
    """Layer norm, one of the forms of attention or a depthwise convolution, residual; perhaps for some tokens only."""

    query: nn.Module
    key: nn.Module
    value: nn.Module

    def __init__(self, op: Attention) -> None:
        super().__init__()
        self.op = op
        self.norm = nn.LayerNorm(op.in_channels, op.norm_eps)
        if op.form == "convolution":
            self.mix = nn.Conv2d(op.in_channels, op.in_channels, 3, padding=1, groups=op.in_channels)
            return
        if op.form == "hilo":
            far = op.global_heads * op.head_dim
            for name in ("query", "key", "value"):
                self.add_module(name, PlainSplitLinear(op.in_channels, op.features - far, far, op.rank))
            self.average = nn.AvgPool2d(WINDOW)
        else:
            for name in ("query", "key", "value"):
                self.add_module(name, linear(op.in_channels, op.features, op.rank))
        if op.form == "linear":
            self.query_act, self.key_act = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        if op.drops and op.class_token:
            self.always = nn.ConstantPad1d((1, 0), torch.inf)  # the class token is the first to stay
        self.project = linear(op.features, op.out_channels, op.rank)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        if self.op.form == "convolution":
            mixed = self._convolve(normed)
        elif self.op.form == "hilo":
            mixed = self.project(self._look_near_and_far(normed))
        else:
            x, mixed = self._attend(x, normed)
            mixed = self.project(mixed)
        out: Tensor = x + mixed
        return out

    def _convolve(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(x.transpose(1, 2).unflatten(2, (-1, self.op.resolution)))
        return mixed.flatten(2).transpose(1, 2)

    def _attend(self, x: Tensor, normed: Tensor) -> tuple[Tensor, Tensor]:
        """`x` and what attention gives, of the tokens that go on."""
        query, key, value = (layer(normed) for layer in (self.query, self.key, self.value))
        if self.op.form == "linear":
            query, key = self.query_act(query), self.key_act(key)
        query, key, value = (heads_of(part, self.op.head_dim) for part in (query, key, value))
        if not self.op.drops:
            attention = linear_attention if self.op.form == "linear" else F.scaled_dot_product_attention
            return x, attention(query, key, value).transpose(1, 2).flatten(2)
        weights, values, scores_BN = scored_attention(query, key, value, self.op)
        if self.op.class_token:
            scores_BN = self.always(scores_BN[:, 1:])
        return most_attended(x, weights, values, scores_BN, int(self.op.num_kept))

    def _look_near_and_far(self, x: Tensor) -> Tensor:
        grid = x.transpose(1, 2).unflatten(2, (-1, self.op.resolution))
        averages = self.average(grid).flatten(2).transpose(1, 2)
        near_query, far_query = self.query(x)
        near_key, far_key = self.key(x, averages)
        near_value, far_value = self.value(x, averages)
        near = attention_in_windows(near_query, near_key, near_value, self.op.resolution, self.op.head_dim)
        query, key, value = (heads_of(part, self.op.head_dim) for part in (far_query, far_key, far_value))
        far = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return torch.cat([far, near], dim=2)


def heads_of(x_BND: Tensor, head_dim: int) -> Tensor:
    """(B, H, N, head_dim)"""
    return x_BND.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def tokens_of(x_BND: Tensor, numbers_BK1: Tensor) -> Tensor:
    """(B, K, D): the tokens of these numbers."""
    return x_BND.gather(1, numbers_BK1.expand(-1, -1, x_BND.size(2)))


def most_attended(x_BND: Tensor, weights: Tensor, values: Tensor, scores_BN: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The `num` tokens with the highest scores, and what attention gives of them (see `scored_attention`)."""
    numbers_BK1 = scores_BN.topk(num, dim=1)[1].unsqueeze(-1)
    mixed_BND = (weights @ values).transpose(1, 2).flatten(2)
    return tokens_of(x_BND, numbers_BK1), tokens_of(mixed_BND, numbers_BK1)


def attention_in_windows(query_BND: Tensor, key_BND: Tensor, value_BND: Tensor, side: int, head_dim: int) -> Tensor:
    """Softmax attention (B, N, D) within each window of the grid, whose side is `side`."""
    num = side // WINDOW

    def windows_of(x_BND: Tensor) -> Tensor:
        """(B, windows, H, tokens, head_dim)"""
        parts = x_BND.unflatten(1, (num, WINDOW, num, WINDOW)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return parts.unflatten(-1, (-1, head_dim)).transpose(2, 3)

    query, key, value = (windows_of(part) for part in (query_BND, key_BND, value_BND))
    mixed = F.scaled_dot_product_attention(query, key, value)
    grid = mixed.transpose(2, 3).flatten(3).unflatten(2, (WINDOW, WINDOW)).unflatten(1, (num, num)).transpose(2, 3)
    return grid.flatten(1, 4)


def linear_attention(query_BHND: Tensor, key_BHND: Tensor, value_BHND: Tensor) -> Tensor:
    """Means of the values (B, H, N, D), weighted by the products of non-negative queries and keys."""
    context = key_BHND.transpose(-2, -1) @ value_BHND
    return _per_total(query_BHND, key_BHND) @ context


def scored_attention(query: Tensor, key: Tensor, value: Tensor, op: Attention) -> tuple[Tensor, Tensor, Tensor]:
    """Two factors whose product is softmax or linear attention (B, H, N, D), and how much of it each token got (B, N):
    from the class token, or else on average.
    """
    if op.form == "linear":
        weights, value = _per_total(query, key), key.transpose(-2, -1) @ value
        total = weights[:, :, :1] if op.class_token else weights.sum(dim=-2, keepdim=True)
        return weights, value, (key @ total.transpose(-2, -1)).mean(dim=1).flatten(1)
    weights = ((query * op.head_dim**-0.5) @ key.transpose(-2, -1)).softmax(dim=-1)
    return weights, value, weights[:, :, 0].mean(dim=1) if op.class_token else weights.mean(dim=(1, 2))


def _per_total(query: Tensor, key: Tensor) -> Tensor:
    """Queries such that those of a token and all keys have products that add up to 1."""
    total = key.sum(dim=-2, keepdim=True).transpose(-2, -1)
    return query / (query @ total + LINEAR_ATTENTION_EPS)
