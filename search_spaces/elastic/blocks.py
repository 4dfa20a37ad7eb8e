"""Elastic blocks: one module per slot that holds every operator the slot can be.

`block(x, operator)` computes that operator; `block.copy_into(plain, operator)` fills the plain module of the same
operator; `block.sort_channels(trained)` puts the most important channels first. The registry at the end maps
operators to blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from search_spaces.elastic.attention import ElasticAttention
from search_spaces.elastic.base import ElasticBlock
from search_spaces.elastic.bottleneck import ElasticBottleneck
from search_spaces.elastic.convolution import ElasticConvBlock, ElasticResidualConv
from search_spaces.elastic.heads import ElasticClassifier, ElasticPoolClassifier, ElasticPoolConv
from search_spaces.elastic.inverted_residual import ElasticMBConv
from search_spaces.elastic.pooling import ElasticMaxPool
from search_spaces.elastic.transformer import (
    ElasticMLP,
    ElasticPatchEmbedding,
    ElasticTokenClassifier,
)
from search_spaces.operators import (
    MLP,
    Attention,
    Bottleneck,
    Classifier,
    Conv,
    MaxPool,
    MBConv,
    Operator,
    PatchEmbedding,
    PoolClassifier,
    PoolConv,
    ResidualConv,
    TokenClassifier,
)

__all__ = ["ELASTIC", "ElasticBlock"]

ELASTIC: dict[type[Operator], Callable[[Any], ElasticBlock]] = {
    Conv: ElasticConvBlock,
    ResidualConv: ElasticResidualConv,
    MaxPool: ElasticMaxPool,
    MBConv: ElasticMBConv,
    Bottleneck: ElasticBottleneck,
    PoolConv: ElasticPoolConv,
    Classifier: ElasticClassifier,
    PoolClassifier: ElasticPoolClassifier,
    PatchEmbedding: ElasticPatchEmbedding,
    Attention: ElasticAttention,
    MLP: ElasticMLP,
    TokenClassifier: ElasticTokenClassifier,
}
