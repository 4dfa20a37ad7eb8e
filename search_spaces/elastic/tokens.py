"""Elastic layers of transformers: linear and low-rank layers, layer norm, patches of several sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.functional import prefix_linear


class ElasticLinear(nn.Linear):
    """Linear layer with elastic inputs, outputs and rank: dense, or two factors through the first `rank` of their
    features, of which the supernet has a pair for all ranks beside the dense weights.

    `ranks` are those in use, 0 for dense.
    """

    def __init__(self, in_features: int, out_features: int, ranks: Sequence[int]) -> None:
        dense = 0 in ranks
        super().__init__(in_features, out_features, device=None if dense else "meta")  # what is not used draws nothing
        if not dense:
            self.weight = None  # type: ignore[assignment]
            self.bias = None  # type: ignore[assignment]
        if max(ranks):
            self.factor_in = nn.Linear(in_features, max(ranks), bias=False)
            self.factor_out = nn.Linear(max(ranks), out_features)

    def forward(self, x: Tensor, out_features: int, rank: int = 0) -> Tensor:  # type: ignore[override]
        if not rank:
            return prefix_linear(x, self.weight, self.bias, out_features)
        inner = prefix_linear(x, self.factor_in.weight, None, rank)
        return prefix_linear(inner, self.factor_out.weight, self.factor_out.bias, out_features)

    def slices(self, name: str, in_features: int, out_features: int, rank: int) -> Iterator[tuple[str, Tensor]]:
        """(name in the plain module, tensor)"""
        if not rank:
            yield f"{name}.weight", self.weight[:out_features, :in_features]
            yield f"{name}.bias", self.bias[:out_features]
        else:
            yield f"{name}.factor_in.weight", self.factor_in.weight[:rank, :in_features]
            yield f"{name}.factor_out.weight", self.factor_out.weight[:out_features, :rank]
            yield f"{name}.factor_out.bias", self.factor_out.bias[:out_features]

    @torch.no_grad()
    def start_factors(self) -> None:
        """Start both factors, if there are any, as the best approximation of the dense layer, if there is one: by its
        singular values, the largest first, so that of every rank the first factors are the best (Eckart and Young,
        1936).
        """
        if self.weight is None or not hasattr(self, "factor_in"):
            return
        rank = self.factor_in.out_features
        left, values, right = torch.linalg.svd(self.weight.double(), full_matrices=False)
        root = values[:rank].sqrt()
        used = root > 0  # the others keep what they read: were both factors zero, neither would ever learn
        self.factor_in.weight[used] = (root[:, None] * right[:rank])[used].to(self.factor_in.weight)
        self.factor_out.weight.copy_(left[:, :rank] * root)
        self.factor_out.bias.copy_(self.bias)

    def importance_of_inputs(self) -> Tensor:
        """(in_features,) L1 norms of the weights that read each input: of the dense layer where there is one."""
        weight = self.weight if self.weight is not None else self.factor_in.weight
        return weight.abs().sum(dim=0)

    def reorder_inputs(self, order: Tensor) -> None:
        for layer in (self, getattr(self, "factor_in", None)):
            if layer is not None and layer.weight is not None:
                layer.weight.copy_(layer.weight[:, order])

    def reorder_outputs(self, order: Tensor) -> None:
        for layer in (self, getattr(self, "factor_out", None)):
            if layer is not None and layer.weight is not None:
                layer.weight.copy_(layer.weight[order])
                layer.bias.copy_(layer.bias[order])


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
