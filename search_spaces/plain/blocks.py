"""The plain module of every operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

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
from search_spaces.plain.attention import PlainAttention
from search_spaces.plain.bottleneck import PlainBottleneck
from search_spaces.plain.convolution import PlainConv, PlainResidualConv
from search_spaces.plain.heads import PlainClassifier, PlainPoolClassifier, PlainPoolConv
from search_spaces.plain.inverted_residual import PlainMBConv
from search_spaces.plain.pooling import PlainMaxPool
from search_spaces.plain.transformer import PlainMLP, PlainPatchEmbedding, PlainTokenClassifier

PLAIN: dict[type[Operator], Callable[[Any], nn.Module]] = {
    Conv: PlainConv,
    ResidualConv: PlainResidualConv,
    MaxPool: PlainMaxPool,
    MBConv: PlainMBConv,
    Bottleneck: PlainBottleneck,
    PoolConv: PlainPoolConv,
    Classifier: PlainClassifier,
    PoolClassifier: PlainPoolClassifier,
    PatchEmbedding: PlainPatchEmbedding,
    Attention: PlainAttention,
    MLP: PlainMLP,
    TokenClassifier: PlainTokenClassifier,
}
