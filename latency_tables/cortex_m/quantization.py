"""From real numbers to int8 and back: affine maps, symmetric weights per channel, and requantisation.

B. Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.common.errors import UserError

Bytes = NDArray[np.int8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LOW, HIGH = -128, 127

#: numbers that are worked on together
_BLOCK = 2**15


@dataclass(frozen=True)
class Affine:
    """real = scale * (q - zero)"""

    scale: float
    zero: int

    @staticmethod
    def of_range(low: float, high: float) -> Affine:
        """The finest that holds `low` to `high`, and 0 exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-6) / (HIGH - LOW)
        return Affine(scale, int(np.clip(round(LOW - low / scale), LOW, HIGH)))

    def quantize(self, real: NDArray[np.floating]) -> Bytes:
        """Halves go up, as in the kernels."""
        return np.clip(np.floor(np.asarray(real) / self.scale + 0.5) + self.zero, LOW, HIGH).astype(np.int8)

    def real(self, q: NDArray[np.integer]) -> Floats:
        return self.scale * (q.astype(np.float64) - self.zero)


def quantize_weights(weight: Floats, bias: Floats, in_scale: float) -> tuple[Bytes, Ints, Floats]:
    """int8 weights (O, ...) and 32-bit biases for accumulators of scale `in_scale` * weight scale, and these (O,)."""
    flat = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = np.maximum(flat / HIGH, np.abs(bias) / (in_scale * 2**30))  # a bias fits, whatever the weights
    scale = np.where(scale == 0, 1.0, scale)
    q = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return q.astype(np.int8), np.rint(bias / (in_scale * scale)).astype(np.int64), in_scale * scale


def activation_table(function: Callable[[Floats], Floats], before: Affine, after: Affine) -> Bytes:
    """(256,): what an activation makes of every q from -128 on."""
    return after.quantize(function(before.real(np.arange(LOW, HIGH + 1))))


@dataclass(frozen=True, eq=False)
class Finish:
    """How accumulators become int8: see `struct finish` of the kernels. One multiplier and shift per channel."""

    multipliers: Ints
    shifts: Ints
    left: int
    zero: int
    low: int = LOW
    high: int = HIGH
    table: Bytes | None = None

    @staticmethod
    def of(
        ratios: Floats, zero: int, largest: float, *, low: int = LOW, high: int = HIGH, table: Bytes | None = None
    ) -> Finish:
        """`ratios` are accumulator scale / output scale; no accumulator is above `largest`, signs aside.

        A multiplier is the ratio's mantissa in 31 bits. Raises `UserError` if outputs are so much finer than
        accumulators that 32 bits do not hold them.
        """
        mantissa, exponent = np.frexp(ratios)
        left = max(0, int(exponent.max()) + 2)
        if largest * 2.0**left >= 2**31:
            raise UserError(
                f"the output scale is {1 / ratios.max():.3g} of an accumulator's, too fine for 32 bits",
                hint="Calibrate on images that look like those of the task",
            )
        shifts = left - 2 - exponent.astype(np.int64)
        multipliers = np.minimum(np.rint(mantissa * 2.0**31), 2**31 - 1).astype(np.int64)
        multipliers, shifts = np.where(shifts > 31, 0, multipliers), np.minimum(shifts, 31)  # smaller than any output
        return Finish(multipliers, shifts, left, zero, low, high, table)

    @property
    def words(self) -> list[int | str]:
        """`struct finish`"""
        table = "null" if self.table is None else "table"
        return [self.left, 1 + 2 * self.zero, self.low, self.high, table]

    def channels(self, biases: Ints, multiple: int = 1) -> NDArray[np.int32]:
        """`struct channel` (channels, 3), padded with zeros to a multiple of channels."""
        rows = np.stack([biases, self.multipliers, self.shifts], axis=1)
        return np.pad(rows, ((0, -len(rows) % multiple), (0, 0))).astype(np.int32)

    def constants(self) -> dict[str, NDArray[np.integer]]:
        return {} if self.table is None else {"table": self.table}

    def __call__(self, sums: NDArray[Any], biases: Ints | int = 0) -> Bytes:
        """What becomes of accumulators (..., channels), integers of any type, that began with `biases`.

        Block by block, so that what is in between stays in a processor's cache.
        """
        rows = sums.reshape(-1, *self.multipliers.shape)
        found = np.empty(rows.shape, np.int8)
        multipliers, shifts = self.multipliers << self.left, self.shifts + 32
        step = max(1, _BLOCK // self.multipliers.size)
        for start in range(0, len(rows), step):
            block = rows[start : start + step].astype(np.int64)
            block += biases
            block *= multipliers
            block >>= shifts
            block += 1 + 2 * self.zero
            block >>= 1
            found[start : start + step] = self.looked_up(block.clip(self.low, self.high, out=block))
        return found.reshape(sums.shape)

    def looked_up(self, values: Ints) -> Bytes:
        return values.astype(np.int8) if self.table is None else self.table[values - LOW]
