"""Operators: frozen descriptions of the blocks a network is made of, with their exact costs.

Every numeric field may be an int or a numpy array; the formulas broadcast, so that the costs of all options of a
slot are one expression. Conventions:

macs         multiply-accumulates of convolutions and linear layers (squeeze-excite included), batch 1
params       learnable numbers, batch-norm scale and shift included
peak_memory  bytes of activations alive at once, batch 1, naive plan: one buffer per tensor, batch norm folded into
the convolution,
             element-wise work (activation, squeeze-excite scaling, residual addition) in place
flash        bytes of weights as deployed: batch norm folded, weights in `dtype`, biases in the same type (int8:
32-bit integers)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np

from search_spaces.common.errors import unknown_name

#: an int, or an integer array while a whole slot is computed at once
Number = Any

WEIGHT_BYTES = {"float32": 4, "float16": 2, "int8": 1}
BIAS_BYTES = {"float32": 4, "float16": 2, "int8": 4}


def check_dtype(dtype: str) -> str:
    if dtype not in WEIGHT_BYTES:
        raise unknown_name("dtype", dtype, WEIGHT_BYTES)
    return dtype


def make_divisible(value: Number, divisor: int = 8) -> Number:
    """Round to a multiple of `divisor`, never losing more than 10 % (the rule of MobileNet and its descendants)."""
    rounded = np.maximum(divisor, (np.asarray(value) + divisor / 2).astype(np.int64) // divisor * divisor)
    rounded = np.where(rounded < 0.9 * np.asarray(value), rounded + divisor, rounded)
    return int(rounded) if np.ndim(value) == 0 else rounded


def output_side(side: Number, stride: Number) -> Number:
    """Side of the output of a convolution with padding kernel_size // 2."""
    return (side - 1) // stride + 1


@dataclass(frozen=True)
class Operator:
    """What one slot computes. `resolution` is the side of the square input map in pixels."""

    kind: ClassVar[str]

    in_channels: Number
    out_channels: Number
    resolution: Number

    @property
    def key(self) -> str:
        """The table key: kind and every field that changes the work done."""
        parts = (getattr(self, field.name) for field in fields(self) if not field.metadata.get("free"))
        text = "-".join(str(int(part) if isinstance(part, (bool, np.integer)) else part) for part in parts)
        return f"{self.kind}-{text}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input, or (C,) where the operator takes vectors."""
        return (int(self.in_channels), int(self.resolution), int(self.resolution))

    @property
    def output_resolution(self) -> Number:
        return self.resolution

    def macs(self) -> Number:
        raise NotImplementedError

    def params(self) -> Number:
        raise NotImplementedError

    def weights(self) -> tuple[Number, Number]:
        """(weights, biases) after batch-norm folding."""
        raise NotImplementedError

    def peak_elements(self) -> Number:
        """Activation elements alive at once under the naive plan."""
        raise NotImplementedError

    def peak_memory(self, dtype: str = "float32") -> Number:
        return self.peak_elements() * WEIGHT_BYTES[check_dtype(dtype)]

    def flash(self, dtype: str = "float32") -> Number:
        weights, biases = self.weights()
        return weights * WEIGHT_BYTES[check_dtype(dtype)] + biases * BIAS_BYTES[dtype]


@dataclass(frozen=True)
class Conv(Operator):
    """Convolution, batch norm, activation."""

    kind = "conv"

    kernel_size: Number
    stride: Number
    activation: str

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def macs(self) -> Number:
        return self.weights()[0] * self.output_resolution**2

    def params(self) -> Number:
        return self.weights()[0] + 2 * self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels * self.kernel_size**2, self.out_channels

    def peak_elements(self) -> Number:
        return self.in_channels * self.resolution**2 + self.out_channels * self.output_resolution**2


@dataclass(frozen=True)
class MBConv(Operator):
    """Inverted residual: [1x1 expansion], depthwise, [squeeze-excite], 1x1 projection; batch norm after each
    convolution.

    `expansion` is False where the block has no expansion convolution (then mid_channels == in_channels);
    `se_channels` is 0 without squeeze-excite. The input is added to the output when `residual`.
    """

    kind = "mbconv"

    mid_channels: Number
    kernel_size: Number
    stride: Number
    activation: str
    se_channels: Number
    expansion: bool
    residual: bool

    @property
    def output_resolution(self) -> Number:
        return output_side(self.resolution, self.stride)

    def _layers(self) -> tuple[Number, Number, Number]:
        """Weights of expansion, depthwise and projection."""
        expansion = self.in_channels * self.mid_channels if self.expansion else 0
        return expansion, self.mid_channels * self.kernel_size**2, self.mid_channels * self.out_channels

    def macs(self) -> Number:
        expansion, depthwise, projection = self._layers()
        squeeze_excite = 2 * self.mid_channels * self.se_channels
        return expansion * self.resolution**2 + (depthwise + projection) * self.output_resolution**2 + squeeze_excite

    def weights(self) -> tuple[Number, Number]:
        squeeze_excite = self.se_channels > 0
        weights = sum(self._layers()) + 2 * self.mid_channels * self.se_channels
        biases = self.mid_channels * (1 + bool(self.expansion)) + self.out_channels
        return weights, biases + squeeze_excite * (self.se_channels + self.mid_channels)

    def params(self) -> Number:
        weights, biases = self.weights()
        norms = self.mid_channels * (1 + bool(self.expansion)) + self.out_channels
        return weights + biases + norms  # a norm has a scale beside the shift that folds into the bias

    def peak_elements(self) -> Number:
        block_input = self.in_channels * self.resolution**2
        expanded = self.mid_channels * self.resolution**2
        filtered = self.mid_channels * self.output_resolution**2
        output = self.out_channels * self.output_resolution**2
        held = block_input if self.residual else 0  # waits for the addition
        if self.expansion:
            peak = np.maximum(block_input + expanded, held + expanded + filtered)
        else:
            peak = block_input + filtered
        excite = (self.se_channels > 0) * (held + filtered + self.mid_channels + self.se_channels)
        return np.maximum(np.maximum(peak, excite), held + filtered + output)


@dataclass(frozen=True)
class PoolConv(Operator):
    """Global average pooling, then a 1x1 convolution with activation and neither bias nor norm (MobileNetV3's
    feature mix).
    """

    kind = "poolconv"

    activation: str

    @property
    def output_resolution(self) -> Number:
        return 1

    def macs(self) -> Number:
        return self.in_channels * self.out_channels

    def params(self) -> Number:
        return self.in_channels * self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels, 0

    def peak_elements(self) -> Number:
        return np.maximum(
            self.in_channels * self.resolution**2 + self.in_channels, self.in_channels + self.out_channels
        )


@dataclass(frozen=True)
class Classifier(Operator):
    """Flatten a 1x1 map, dropout (identity when deployed), linear layer."""

    kind = "classifier"

    #: costs nothing when deployed, so it is no part of the key
    dropout: float = field(default=0.0, metadata={"free": True})

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (int(self.in_channels), 1, 1)

    def macs(self) -> Number:
        return self.in_channels * self.out_channels

    def params(self) -> Number:
        return self.in_channels * self.out_channels + self.out_channels

    def weights(self) -> tuple[Number, Number]:
        return self.in_channels * self.out_channels, self.out_channels

    def peak_elements(self) -> Number:
        return self.in_channels + self.out_channels


#: metric -> (formula of one operator, how the slots of a network combine)
METRICS: dict[str, tuple[Callable[[Operator, str], Number], str]] = {
    "macs": (lambda operator, dtype: operator.macs(), "sum"),
    "params": (lambda operator, dtype: operator.params(), "sum"),
    "flash": (lambda operator, dtype: operator.flash(dtype), "sum"),
    "peak_memory": (lambda operator, dtype: operator.peak_memory(dtype), "max"),
}
