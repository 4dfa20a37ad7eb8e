"""What every operator has: a table key and exact costs.

Every numeric field may be an int or a numpy array; the formulas broadcast, so that the costs of all options of a
slot are one expression. Conventions:

macs         multiply-accumulates of convolutions and linear layers (squeeze-excite included), batch 1
params       learnable numbers, batch-norm scale and shift included
peak_memory  bytes of activations alive at once, batch 1, naive plan: one buffer per tensor, batch norm folded into
             the convolution, element-wise work (activation, squeeze-excite scaling, residual addition) in place;
             or under the plan `overwriting`, for which operators have formulas that can work token by token
flash        bytes of weights as deployed: batch norm folded, weights in `dtype`, biases in the same type (int8:
             32-bit integers)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from search_spaces.common.errors import unknown_name

#: an int, or an integer array while a whole slot is computed at once
Number = Any

WEIGHT_BYTES = {"float32": 4, "float16": 2, "int8": 1}
BIAS_BYTES = {"float32": 4, "float16": 2, "int8": 4}

#: what torch.nn.BatchNorm2d adds to the variance unless told otherwise
NORM_EPS = 1e-5


def check_dtype(dtype: str) -> str:
    if dtype not in WEIGHT_BYTES:
        raise unknown_name("dtype", dtype, WEIGHT_BYTES)
    return dtype


#: how activations are laid out in memory; see `peak_memory` above
MEMORY_PLANS = ("naive", "overwriting")


def check_plan(plan: str, *, key: str | None = None) -> str:
    if plan not in MEMORY_PLANS:
        raise unknown_name("memory plan", plan, MEMORY_PLANS, key=key)
    return plan


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
    def fits_any_resolution(self) -> bool:
        """Whether its layers are the same on inputs of other sizes."""
        return True

    @property
    def has_ties(self) -> bool:
        """Whether inputs that are equal up to rounding may give quite another output, where a choice is a close one."""
        return False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input, (C,) where the operator takes vectors, (N, D) where it takes tokens."""
        return (int(self.in_channels), int(self.resolution), int(self.resolution))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(C, H, W) of one output, or (C,)."""
        return (int(self.out_channels), int(self.output_resolution), int(self.output_resolution))

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

    def overwriting_elements(self) -> Number:
        """Activation elements alive at once where outputs overwrite inputs token by token; the naive plan's where an
        operator has no such form.
        """
        return self.peak_elements()

    def peak_memory(self, dtype: str = "float32", plan: str = "naive") -> Number:
        elements = self.overwriting_elements() if check_plan(plan) == "overwriting" else self.peak_elements()
        return elements * WEIGHT_BYTES[check_dtype(dtype)]

    def flash(self, dtype: str = "float32") -> Number:
        weights, biases = self.weights()
        return weights * WEIGHT_BYTES[check_dtype(dtype)] + biases * BIAS_BYTES[dtype]


#: metric -> (formula of one operator by dtype and memory plan, how the slots of a network combine)
METRICS: dict[str, tuple[Callable[[Operator, str, str], Number], str]] = {
    "macs": (lambda operator, dtype, plan: operator.macs(), "sum"),
    "params": (lambda operator, dtype, plan: operator.params(), "sum"),
    "flash": (lambda operator, dtype, plan: operator.flash(dtype), "sum"),
    "peak_memory": (lambda operator, dtype, plan: operator.peak_memory(dtype, plan), "max"),
}
