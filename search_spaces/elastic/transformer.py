"""The parts of a vision transformer, elastic in embedding, heads, hidden features, rank, patch and image size.

Weights are shared as prefixes of one another, as in AutoFormer (https://arxiv.org/abs/2107.00651); ranks too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.elastic.base import ElasticBlock, channel_order
from search_spaces.elastic.tokens import (
    ElasticGridConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ElasticPatchConv2d,
    places_on_grid,
)
from search_spaces.operators import MLP, Attention, PatchEmbedding, TokenClassifier
from search_spaces.plain.transformer import LINEAR_DEVIATION, initialize_transformer, linear_attention


class ElasticTransformerBlock(ElasticBlock):
    """What the blocks below share."""

    def initialize_weights(self) -> None:
        initialize_transformer(self)
        for layer in self.modules():
            if isinstance(layer, ElasticLinear):
                layer.initialize(LINEAR_DEVIATION)


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


class ElasticAttention(ElasticTransformerBlock):
    """Attention with elastic embedding, number of heads, rank and form: softmax and linear attention share all weights,
    a convolution has its own.
    """

    def __init__(self, operators: Sequence[Attention]) -> None:
        super().__init__()
        first, width = operators[0], max(op.in_channels for op in operators)
        assert len({(op.head_dim, op.norm_eps) for op in operators}) == 1, "these may not change within a slot"
        self.head_dim = first.head_dim
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
        branch = self.mix(normed) if operator.form == "convolution" else self._attend(normed, operator)
        out: Tensor = x + self.drop_path(branch)
        return out

    def _attend(self, x: Tensor, operator: Attention) -> Tensor:
        query, key, value = (layer(x, operator.features, operator.rank) for layer in (self.query, self.key, self.value))
        if operator.form == "linear":
            query, key = F.relu(query), F.relu(key)
        query, key, value = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (query, key, value))
        attention = linear_attention if operator.form == "linear" else F.scaled_dot_product_attention
        mixed = attention(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.project(mixed, operator.out_channels, operator.rank)
        return out

    def slices(self, operator: Attention) -> Iterator[tuple[str, Tensor]]:
        width, features = operator.in_channels, operator.features
        yield from self.norm.slices("norm", width)
        if operator.form == "convolution":
            yield from self.mix.slices("mix", width)
            return
        for name in ("query", "key", "value"):
            yield from getattr(self, name).slices(name, width, features, operator.rank)
        yield from self.project.slices("project", features, width, operator.rank)

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[Attention]) -> None:
        """Importance of a head: L1 norm of the projection weights that read it. Ranks are put in the order of their
        singular values where none is trained yet.
        """
        if not hasattr(self, "project"):
            return
        importance = self.project.importance_of_inputs().unflatten(0, (-1, self.head_dim)).sum(dim=1)
        heads = channel_order(importance, [op.heads for op in trained if op.form != "convolution"])
        order = torch.arange(self.head_dim * len(heads), device=heads.device).unflatten(0, (-1, self.head_dim))
        order = order[heads].flatten()
        for layer in (self.query, self.key, self.value):
            layer.reorder_outputs(order)
        self.project.reorder_inputs(order)
        if not any(op.rank for op in trained):
            for layer in (self.query, self.key, self.value, self.project):
                layer.order_ranks()


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
        """Importance of a hidden feature: L1 norm of the weights of the second layer that read it. Ranks are put in
        the order of their singular values where none is trained yet.
        """
        order = channel_order(self.contract.importance_of_inputs(), [op.mid_channels for op in trained])
        self.expand.reorder_outputs(order)
        self.contract.reorder_inputs(order)
        if not any(op.rank for op in trained):
            self.expand.order_ranks()
            self.contract.order_ranks()


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
