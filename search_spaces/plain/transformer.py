"""The parts of a vision transformer beside attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_spaces.operators import MLP, PatchEmbedding, TokenClassifier

#: of the first weights of linear layers and of places, as in timm's vision transformers
LINEAR_DEVIATION = 0.02


class PlainLowRank(nn.Module):
    """A linear layer as two factors through `rank` features."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.factor_in = nn.Linear(in_features, rank, bias=False)
        self.factor_out = nn.Linear(rank, out_features)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.factor_out(self.factor_in(x))
        return out


def linear(in_features: int, out_features: int, rank: int) -> nn.Module:
    """Dense where `rank` is 0."""
    return PlainLowRank(in_features, out_features, rank) if rank else nn.Linear(in_features, out_features)


class TransformerBlock(nn.Module):
    """A block that draws its first weights as transformers do."""

    def initialize_weights(self) -> None:
        initialize_transformer(self)


class PlainPatchEmbedding(TransformerBlock):
    """Patches to tokens, places added, the class token before them."""

    def __init__(self, op: PatchEmbedding) -> None:
        super().__init__()
        self.class_token = bool(op.class_token)
        self.conv = nn.Conv2d(op.in_channels, op.out_channels, op.patch, op.patch)
        if self.class_token:
            self.pad = nn.ZeroPad2d((0, 0, 1, 0))  # a row for the class token, which the first place holds
        self.places = nn.Parameter(torch.zeros(op.num_tokens, op.out_channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        if self.class_token:
            tokens = self.pad(tokens)
        out: Tensor = tokens + self.places
        return out


class PlainMLP(TransformerBlock):
    """Layer norm, two linear layers around a GELU, residual."""

    def __init__(self, op: MLP) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(op.in_channels, op.norm_eps)
        self.expand = linear(op.in_channels, op.mid_channels, op.rank)
        self.act = nn.GELU()
        self.contract = linear(op.mid_channels, op.out_channels, op.rank)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.contract(self.act(self.expand(self.norm(x))))
        return out


class PlainTokenClassifier(TransformerBlock):
    """Layer norm, class token or mean over the others, dropout, linear layer."""

    def __init__(self, op: TokenClassifier) -> None:
        super().__init__()
        self.class_token = bool(op.class_token)
        self.norm = nn.LayerNorm(op.in_channels, op.norm_eps)
        self.dropout = nn.Dropout(op.dropout)
        self.linear = nn.Linear(op.in_channels, op.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        x = x[:, 0] if self.class_token else x.mean(dim=1)
        out: Tensor = self.linear(self.dropout(x))
        return out


def initialize_transformer(block: nn.Module) -> None:
    """Truncated normal of `LINEAR_DEVIATION` for linear layers and places, biases zero; the
    first of two factors and the patch convolution keep the size of their inputs (LeCun), so that a product of factors
    is as large as a dense layer.
    """
    for name, layer in block.named_modules():
        if isinstance(layer, nn.Linear) and layer.weight is not None:
            _truncated_normal(layer.weight, layer.in_features**-0.5 if name.endswith("factor_in") else LINEAR_DEVIATION)
        elif isinstance(layer, nn.Conv2d):
            _truncated_normal(layer.weight, layer.weight[0].numel() ** -0.5)
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)
    if isinstance(places := getattr(block, "places", None), Tensor):
        _truncated_normal(places, LINEAR_DEVIATION)


def _truncated_normal(weight: Tensor, deviation: float) -> None:
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)
