"""The parts of a vision transformer beside attention, elastic in embedding, hidden features, rank, patch, image size.

Weights are shared as prefixes of one another, as in AutoFormer (https://arxiv.org/abs/2107.00651).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.base import ElasticBlock, channel_order
from search_spaces.elastic.tokens import (
    ElasticLayerNorm,
    ElasticLinear,
    ElasticPatchConv2d,
    places_on_grid,
)
from search_spaces.operators import MLP, PatchEmbedding, TokenClassifier
from search_spaces.plain.transformer import initialize_transformer


class ElasticTransformerBlock(ElasticBlock):
    """What the blocks below share."""

    def initialize_weights(self) -> None:
        initialize_transformer(self)


class ElasticPatchEmbedding(ElasticTransformerBlock):
    """Patches of several sizes to tokens of elastic width. The vectors of the places are those of the finest grid."""

    def __init__(self, operators: Sequence[PatchEmbedding]) -> None:
        super().__init__()
        first = operators[0]
        widest = max(op.out_channels for op in operators)
        self.class_token = int(first.class_token)
        self.conv = ElasticPatchConv2d(first.in_channels, widest, sorted({op.patch for op in operators}))
        self.grid = max(op.output_resolution for op in operators)
        self.places = nn.Parameter(torch.zeros(self.class_token + self.grid**2, widest))

    def forward(self, x: Tensor, operator: PatchEmbedding) -> Tensor:
        tokens = self.conv(x, operator.out_channels, operator.patch).flatten(2).transpose(1, 2)
        return F.pad(tokens, (0, 0, self.class_token, 0)) + self._places(operator)

    def _places(self, operator: PatchEmbedding) -> Tensor:
        return places_on_grid(self.places[:, : operator.out_channels], self.grid, operator.output_resolution)

    def slices(self, operator: PatchEmbedding) -> Iterator[tuple[str, Tensor]]:
        assert self.conv.bias is not None
        yield "conv.weight", self.conv.weight_for(operator.out_channels, operator.patch)
        yield "conv.bias", self.conv.bias[: operator.out_channels]
        yield "places", self._places(operator)


class ElasticMLP(ElasticTransformerBlock):
    """Two linear layers with elastic embedding, hidden features and rank."""

    def __init__(self, operators: Sequence[MLP]) -> None:
        super().__init__()
        first = operators[0]
        width, hidden = (max(getattr(op, name) for op in operators) for name in ("in_channels", "mid_channels"))
        ranks = [op.rank for op in operators]
        self.norm = ElasticLayerNorm(width, first.norm_eps)
        self.expand = ElasticLinear(width, hidden, ranks)
        self.act = nn.GELU()
        self.contract = ElasticLinear(hidden, width, ranks)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, operator: MLP) -> Tensor:
        hidden = self.act(self.expand(self.norm(x), operator.mid_channels, operator.rank))
        out: Tensor = x + self.drop_path(self.contract(hidden, operator.out_channels, operator.rank))
        return out

    def slices(self, operator: MLP) -> Iterator[tuple[str, Tensor]]:
        width, hidden = operator.in_channels, operator.mid_channels
        yield from self.norm.slices("norm", width)
        yield from self.expand.slices("expand", width, hidden, operator.rank)
        yield from self.contract.slices("contract", hidden, width, operator.rank)

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[MLP]) -> None:
        """Importance of a hidden feature: L1 norm of the weights of the second layer that read it."""
        order = channel_order(self.contract.importance_of_inputs(), [op.mid_channels for op in trained])
        self.expand.reorder_outputs(order)
        self.contract.reorder_inputs(order)


class ElasticTokenClassifier(ElasticTransformerBlock):
    """Layer norm and linear layer over the features that arrive."""

    def __init__(self, operators: Sequence[TokenClassifier]) -> None:
        super().__init__()
        first, width = operators[0], max(op.in_channels for op in operators)
        self.class_token = bool(first.class_token)
        self.norm = ElasticLayerNorm(width, first.norm_eps)
        self.dropout = nn.Dropout(first.dropout)
        self.linear = ElasticLinear(width, first.out_channels, [0])

    def forward(self, x: Tensor, operator: TokenClassifier) -> Tensor:
        x = self.norm(x)
        x = x[:, 0] if self.class_token else x.mean(dim=1)
        out: Tensor = self.linear(self.dropout(x), operator.out_channels)
        return out

    def slices(self, operator: TokenClassifier) -> Iterator[tuple[str, Tensor]]:
        yield from self.norm.slices("norm", operator.in_channels)
        yield from self.linear.slices("linear", operator.in_channels, operator.out_channels, 0)
