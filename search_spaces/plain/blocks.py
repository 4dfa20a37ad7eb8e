"""The plain module of every operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from search_spaces.operators import (
    Bottleneck,
    Classifier,
    Conv,
    MaxPool,
    MBConv,
    Operator,
    PoolClassifier,
    PoolConv,
    ResidualConv,
)
from search_spaces.plain.bottleneck import PlainBottleneck
from search_spaces.plain.convolution import PlainConv, PlainResidualConv
from search_spaces.plain.heads import PlainClassifier, PlainPoolClassifier, PlainPoolConv
from search_spaces.plain.inverted_residual import PlainMBConv
from search_spaces.plain.pooling import PlainMaxPool

PLAIN: dict[type[Operator], Callable[[Any], nn.Module]] = {
    Conv: PlainConv,
    ResidualConv: PlainResidualConv,
    MaxPool: PlainMaxPool,
    MBConv: PlainMBConv,
    Bottleneck: PlainBottleneck,
    PoolConv: PlainPoolConv,
    Classifier: PlainClassifier,
    PoolClassifier: PlainPoolClassifier,
}
