"""What is done number by number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.program import Call, Map, Word
from latency_tables.cortex_m.quantization import HIGH, LOW, Affine, Bytes, Finish
from search_spaces.common.errors import UserError


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Call):
    """The sum of two maps of `shape`, perhaps clamped or looked up.

    Multipliers have so many bits that the sum fits into 32, and at most `_MOST_BITS` behind the point.
    """

    kernel = "add"
    in_place = True

    shape: Map
    first: Affine
    second: Affine
    after: Affine
    low: int = LOW
    high: int = HIGH
    table: Bytes | None = None

    @property
    def geometry(self) -> tuple[int, ...]:
        return (math.prod(self.shape), self.table is not None)

    def numbers(self) -> tuple[int, int, int, int]:
        """Both multipliers, what is added, and the shift. Raises `UserError` if the output is far too fine."""
        ratios = (self.first.scale / self.after.scale, self.second.scale / self.after.scale)
        shift = min(_MOST_BITS, 21 - math.frexp(max(ratios))[1])
        if shift < 1:
            raise UserError("the scale of a sum is too fine for its terms", hint="Calibrate on images of the task")
        first, second = (round(ratio * 2**shift) for ratio in ratios)
        offset = (self.after.zero << shift) + (1 << shift - 1) - self.first.zero * first - self.second.zero * second
        return first, second, offset, shift

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {} if self.table is None else {"table": self.table}

    def arguments(self) -> list[Word]:
        numbers = [math.prod(self.shape), *self.numbers(), self.low, self.high]
        return ["x", "second", "y", *numbers, "null" if self.table is None else "table"]

    def reference(self, *inputs: Bytes) -> Bytes:
        first, second, offset, shift = self.numbers()
        sums = inputs[0].astype(np.int32) * first + inputs[1].astype(np.int32) * second + offset
        values = (sums >> shift).clip(self.low, self.high)
        return values.astype(np.int8) if self.table is None else self.table[values - LOW]


@dataclass(frozen=True, eq=False, kw_only=True)
class AddConstant(Add):
    """The sum of a map and of `constant`, which has its shape and the quantisation `second`."""

    constant: Bytes

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {**super().constants(), "second": self.constant}

    def reference(self, *inputs: Bytes) -> Bytes:
        return super().reference(inputs[0], self.constant)


#: more would let zero * 2^shift and the rest outgrow 32 bits
_MOST_BITS = 22


@dataclass(frozen=True, eq=False, kw_only=True)
class Scale(Call):
    """Every channel of a map of `shape` times a gate of its own, the second input."""

    kernel = "scale"
    in_place = True

    shape: Map
    before: Affine
    gate: Affine
    after: Affine

    @property
    def geometry(self) -> tuple[int, ...]:
        return (self.shape[0] * self.shape[1], self.shape[2])

    @property
    def _finish(self) -> Finish:
        ratio = np.array([self.before.scale * self.gate.scale / self.after.scale])
        return Finish.of(ratio, self.after.zero, 2.0**16)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {}

    def arguments(self) -> list[Word]:
        finish = self._finish
        channel = finish.channels(np.array([0])).ravel().tolist()
        numbers = [*self.geometry, self.before.zero, self.gate.zero, *channel]
        return ["x", "second", "y", *numbers, *finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        x, gates = (q.astype(np.int32) for q in inputs)
        return self._finish((x - self.before.zero) * (gates - self.gate.zero))


@dataclass(frozen=True, eq=False, kw_only=True)
class Lookup(Call):
    """An activation by itself: `table` (256,) by q from -128 on."""

    kernel = "lookup"
    in_place = True

    shape: Map
    table: Bytes

    @property
    def geometry(self) -> tuple[int, ...]:
        return (math.prod(self.shape),)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {"table": self.table}

    def arguments(self) -> list[Word]:
        return ["x", "y", "table", math.prod(self.shape)]

    def reference(self, *inputs: Bytes) -> Bytes:
        return self.table[inputs[0].astype(np.int16) - LOW]
