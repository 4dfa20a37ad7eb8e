"""Elastic layers of transformers: linear and low-rank layers, layer norm, patches of several sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.functional import prefix_linear


class ElasticLinear(nn.Module):
    """Linear layer with elastic inputs, outputs and rank.

    Where some of the `ranks` in use (0 means dense) is above 0, the weights are a product of two factors: the dense
    layer is all of it, a low-rank layer its first features, so that whatever trains one trains the other. They start in
    the order of their singular values, and training prefixes of them keeps the most useful ones first (nested dropout,
    https://arxiv.org/abs/1402.0915).
    """

    def __init__(self, in_features: int, out_features: int, ranks: Sequence[int]) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.smallest_rank = min((rank for rank in ranks if rank), default=0)
        if not max(ranks):
            self.weight = nn.Parameter(torch.empty(out_features, in_features))
        else:
            inner = max(ranks) if 0 not in ranks else min(in_features, out_features)
            self.factor_in = nn.Parameter(torch.empty(inner, in_features))
            self.factor_out = nn.Parameter(torch.empty(out_features, inner))
        self.bias = nn.Parameter(torch.empty(out_features))

    @property
    def has_factors(self) -> bool:
        return hasattr(self, "factor_in")

    def dense_weight(self, in_features: int | None = None, out_features: int | None = None) -> Tensor:
        """(out_features, in_features): the first of all, or all"""
        if not self.has_factors:
            return self.weight[:out_features, :in_features]
        return self.factor_out[:out_features] @ self.factor_in[:, :in_features]

    def forward(self, x: Tensor, out_features: int, rank: int = 0) -> Tensor:
        if not self.has_factors:
            return prefix_linear(x, self.weight, self.bias, out_features)
        if not rank:
            return F.linear(x, self.dense_weight(x.shape[-1], out_features), self.bias[:out_features])
        inner = prefix_linear(x, self.factor_in, None, rank)
        return prefix_linear(inner, self.factor_out, self.bias, out_features)

    def slices(self, name: str, in_features: int, out_features: int, rank: int) -> Iterator[tuple[str, Tensor]]:
        """(name in the plain module, tensor)"""
        if rank:
            yield f"{name}.factor_in.weight", self.factor_in[:rank, :in_features]
            yield f"{name}.factor_out.weight", self.factor_out[:out_features, :rank]
            yield f"{name}.factor_out.bias", self.bias[:out_features]
        else:
            yield f"{name}.weight", self.dense_weight(in_features, out_features)
            yield f"{name}.bias", self.bias[:out_features]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the weights of an ordinary layer, too."""
        weight = state_dict.get(f"{prefix}weight")
        if self.has_factors and isinstance(weight, Tensor) and weight.shape == (self.out_features, self.in_features):
            factor_in, factor_out = factors_of(weight, len(self.factor_in))
            state_dict = state_dict | {f"{prefix}factor_in": factor_in, f"{prefix}factor_out": factor_out}
            del state_dict[f"{prefix}weight"]
        super()._load_from_state_dict(state_dict, prefix, *args)

    @torch.no_grad()
    def initialize(self, deviation: float) -> None:
        """A truncated normal of this deviation; its factors, where there are any, in the order of singular values."""
        weight = torch.empty(self.out_features, self.in_features)
        nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        self.start_from(weight)
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def start_from(self, weight: Tensor) -> None:
        """Let this be the dense weights, or the best approximation of them that the factors allow."""
        if not self.has_factors:
            self.weight.copy_(weight)
            return
        factor_in, factor_out = factors_of(weight, len(self.factor_in))
        used = factor_out.any(dim=0)  # the others keep what they read: were both factors zero, neither would ever learn
        self.factor_in[used] = factor_in[used]
        self.factor_out.copy_(factor_out)

    @torch.no_grad()
    def order_ranks(self, *, first: int = 0) -> None:
        """Let the features of the factors be in the order of the singular values of what they are together, but for the
        `first` ones, which stay. The dense weights do not change.
        """
        if not self.has_factors or first >= len(self.factor_in):
            return
        rest = self.factor_out[:, first:] @ self.factor_in[first:]
        factor_in, factor_out = factors_of(rest, len(self.factor_in) - first)
        used = factor_out.any(dim=0)
        self.factor_in[first:][used] = factor_in[used]
        self.factor_out[:, first:] = factor_out

    @torch.no_grad()
    def importance_of_inputs(self) -> Tensor:
        """(in_features,) L1 norms of the dense weights that read each input."""
        return self.dense_weight().abs().sum(dim=0)

    @torch.no_grad()
    def reorder_inputs(self, order: Tensor) -> None:
        reader = self.factor_in if self.has_factors else self.weight
        reader.copy_(reader[:, order])

    @torch.no_grad()
    def reorder_outputs(self, order: Tensor) -> None:
        for writer in (self.factor_out if self.has_factors else self.weight, self.bias):
            writer.copy_(writer[order])


def factors_of(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rank, in) and (out, rank), whose product is the best approximation of `weight` (out, in) of this rank; the first
    of their features are the best of every smaller rank (singular value decomposition; Eckart and Young, 1936).
    """
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    values = torch.where(values > values[0] * 1e-12, values, 0)
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()  # of two equal decompositions always the same
    left, right = left * signs, right * signs.t()
    root = values[:rank].sqrt()
    return (root[:, None] * right[:rank]).to(weight), (left[:, :rank] * root).to(weight)


class ElasticLayerNorm(nn.LayerNorm):
    """Layer norm over the features that arrive, with the first entries of scale and shift."""

    def forward(self, x: Tensor) -> Tensor:
        num = x.shape[-1]
        return F.layer_norm(x, (num,), self.weight[:num], self.bias[:num], self.eps)

    def slices(self, name: str, num: int) -> Iterator[tuple[str, Tensor]]:
        yield f"{name}.weight", self.weight[:num]
        yield f"{name}.bias", self.bias[:num]


class ElasticGridConv2d(nn.Conv2d):
    """Depthwise 3x3 convolution over a square grid of tokens (B, N, D), for as many features as arrive."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features, 3, padding=1, groups=features)

    def forward(self, x_BND: Tensor) -> Tensor:
        assert self.bias is not None
        num, side = x_BND.shape[2], math.isqrt(x_BND.shape[1])
        grid = x_BND.transpose(1, 2).unflatten(2, (side, side))
        mixed = F.conv2d(grid, self.weight[:num], self.bias[:num], padding=1, groups=num)
        return mixed.flatten(2).transpose(1, 2)

    def slices(self, name: str, num: int) -> Iterator[tuple[str, Tensor]]:
        assert self.bias is not None
        yield f"{name}.weight", self.weight[:num]
        yield f"{name}.bias", self.bias[:num]


class ElasticPatchConv2d(nn.Conv2d):
    """The convolution of a patch embedding, with elastic outputs and patch size.

    It holds kernels of the smallest patch. A larger one has the kernel whose product with an enlarged patch is that
    of the kernel with the patch itself (pseudo-inverse of bicubic resizing; Beyer et al., FlexiViT,
    https://arxiv.org/abs/2212.08013, section 3.4): it starts where the smallest patch is.
    """

    def __init__(self, in_channels: int, out_channels: int, patches: Sequence[int]) -> None:
        self.smallest = min(patches)
        super().__init__(in_channels, out_channels, self.smallest, self.smallest)
        for patch in patches:
            if patch != self.smallest:
                self.register_buffer(f"resize_{patch}", _enlarging(self.smallest, patch), persistent=False)

    def weight_for(self, out_channels: int, patch: int) -> Tensor:
        """(out_channels, in_channels, patch, patch)"""
        weight = self.weight[:out_channels]
        if patch == self.smallest:
            return weight
        resized = weight.flatten(2) @ getattr(self, f"resize_{patch}").t()
        return resized.unflatten(2, (patch, patch))

    def forward(self, x: Tensor, out_channels: int, patch: int) -> Tensor:  # type: ignore[override]
        assert self.bias is not None
        return F.conv2d(x, self.weight_for(out_channels, patch), self.bias[:out_channels], patch)


def resized_kernel(kernel_OIHW: Tensor, patch: int) -> Tensor:
    """The kernel of a patch embedding for another patch size."""
    side = kernel_OIHW.shape[-1]
    if side == patch:
        return kernel_OIHW
    return (kernel_OIHW.flatten(2) @ _enlarging(side, patch).to(kernel_OIHW).t()).unflatten(2, (patch, patch))


def _enlarging(small: int, large: int) -> Tensor:
    """(large^2, small^2): from kernels of the small patch to those of the large one (or the other way round)."""
    basis = torch.eye(small**2, dtype=torch.float64).view(small**2, 1, small, small)
    images = F.interpolate(basis, (large, large), mode="bicubic", antialias=True).flatten(1)  # (small^2, large^2)
    return torch.linalg.pinv(images).to(torch.get_default_dtype())


def places_on_grid(places_NC: Tensor, grid: int, side: int) -> Tensor:
    """The vectors of a square grid's places, resized from `grid` rows to `side`; a class token's, the first, stays."""
    if side == grid:
        return places_NC
    first, rest = places_NC.split([len(places_NC) - grid**2, grid**2])
    maps = rest.t().unflatten(1, (grid, grid))[None]
    resized = F.interpolate(maps, (side, side), mode="bicubic", antialias=True)
    return torch.cat([first, resized[0].flatten(1).t()])
