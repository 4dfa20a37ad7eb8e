"""The plain module of every operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from search_spaces.operators import Classifier, Conv, MBConv, Operator, PoolConv
from search_spaces.plain.convolution import PlainConv
from search_spaces.plain.heads import PlainClassifier, PlainPoolConv
from search_spaces.plain.inverted_residual import PlainMBConv

PLAIN: dict[type[Operator], Callable[[Any], nn.Module]] = {
    Conv: PlainConv,
    MBConv: PlainMBConv,
    PoolConv: PlainPoolConv,
    Classifier: PlainClassifier,
}
