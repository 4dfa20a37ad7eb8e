"""Elastic layers of transformers: linear and low-rank layers, layer norm, patches of several sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.functional import prefix_linear


class ElasticLinear(nn.Linear):
    """Linear layer with elastic inputs, outputs and rank: of rank 0 the first rows and columns of its weights, of
    another rank the best approximation of these by two factors (singular value decomposition; Eckart and Young, 1936).

    So every rank is that of the dense weights as they are, and whatever trains one trains all. Gradients reach the
    weights through one factor; the other, an orthonormal basis of the space that is kept, counts as a constant. Where
    there is one rank only, of those in use (`ranks`), there are no dense weights but two ordinary layers.
    """

    def __init__(self, in_features: int, out_features: int, ranks: Sequence[int]) -> None:
        (rank,) = set(ranks) if len(set(ranks)) == 1 else (0,)
        super().__init__(in_features, out_features, device="meta" if rank else None)  # what is not used draws nothing
        self.has_factors = rank > 0
        if rank:
            self.weight = None  # type: ignore[assignment]
            self.bias = None  # type: ignore[assignment]
            self.factor_in = nn.Linear(in_features, rank, bias=False)
            self.factor_out = nn.Linear(rank, out_features)

    def forward(self, x: Tensor, out_features: int, rank: int = 0) -> Tensor:  # type: ignore[override]
        if self.has_factors:
            inner = prefix_linear(x, self.factor_in.weight, None, rank)
            return prefix_linear(inner, self.factor_out.weight, self.factor_out.bias, out_features)
        if not rank:
            return prefix_linear(x, self.weight, self.bias, out_features)
        factor_in, factor_out = factors_of(self.weight[:out_features, : x.shape[-1]], rank)
        return F.linear(F.linear(x, factor_in), factor_out, self.bias[:out_features])

    def slices(self, name: str, in_features: int, out_features: int, rank: int) -> Iterator[tuple[str, Tensor]]:
        """(name in the plain module, tensor)"""
        if not rank:
            yield f"{name}.weight", self.weight[:out_features, :in_features]
            yield f"{name}.bias", self.bias[:out_features]
            return
        if self.has_factors:
            factor_in, factor_out = self.factor_in.weight[:, :in_features], self.factor_out.weight[:out_features]
        else:
            factor_in, factor_out = factors_of(self.weight[:out_features, :in_features], rank)
        yield f"{name}.factor_in.weight", factor_in
        yield f"{name}.factor_out.weight", factor_out
        yield f"{name}.factor_out.bias", self._writer.bias[:out_features]

    @property
    def _reader(self) -> nn.Linear:
        """The layer that reads the inputs."""
        return self.factor_in if self.has_factors else self

    @property
    def _writer(self) -> nn.Linear:
        """The layer that writes the outputs."""
        return self.factor_out if self.has_factors else self

    @torch.no_grad()
    def importance_of_inputs(self) -> Tensor:
        """(in_features,) L1 norms of the weights that read each input."""
        return self._reader.weight.abs().sum(dim=0)

    @torch.no_grad()
    def reorder_inputs(self, order: Tensor) -> None:
        self._reader.weight.copy_(self._reader.weight[:, order])

    @torch.no_grad()
    def reorder_outputs(self, order: Tensor) -> None:
        self._writer.weight.copy_(self._writer.weight[order])
        self._writer.bias.copy_(self._writer.bias[order])


def factors_of(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rank, in) and (out, rank), whose product is the best approximation of `weight` (out, in) of this rank."""
    wide = weight.shape[0] < weight.shape[1]
    with torch.no_grad():
        exact = weight.double()
        gram = exact @ exact.t() if wide else exact.t() @ exact  # the smaller of both
        basis = torch.linalg.eigh(gram)[1][:, -rank:].flip(1).to(weight)  # eigenvalues rise
    return (basis.t() @ weight, basis) if wide else (basis.t(), weight @ basis)


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
