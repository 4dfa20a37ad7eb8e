"""Means and maxima of pixels."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.windows import Window, gathered
from latency_tables.cortex_m.program import Call, Map, Word
from latency_tables.cortex_m.quantization import LOW, Affine, Bytes, Finish, Floats


def _means(numbers: Floats, before: Affine, after: Affine) -> Finish:
    """Of sums of so many pixels."""
    ratios = before.scale / (after.scale * numbers)
    return Finish.of(ratios, after.zero, 256 * float(numbers.max()))


@dataclass(frozen=True, eq=False, kw_only=True)
class GlobalAverage(Call):
    """The mean of all pixels of a map of `shape`."""

    kernel = "global_average"

    shape: Map
    before: Affine
    after: Affine

    @property
    def geometry(self) -> tuple[int, ...]:
        return self.shape

    @property
    def _pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def _finish(self) -> Finish:
        return _means(np.array([float(self._pixels)]), self.before, self.after)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {}

    def arguments(self) -> list[Word]:
        finish, bias = self._finish, -self._pixels * self.before.zero
        channel = finish.channels(np.array([bias])).ravel().tolist()
        return ["x", "y", self._pixels, self.shape[2], *channel, *finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        sums = inputs[0].sum(axis=(-3, -2), keepdims=True, dtype=np.int64)
        return self._finish(sums - self._pixels * self.before.zero)


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePool(Call):
    """Windows over the far edges average the pixels that are there."""

    kernel = "average_pool"

    window: Window
    num_channels: int
    before: Affine
    after: Affine

    @property
    def geometry(self) -> tuple[int, ...]:
        return (*self.window.sizes, self.num_channels)

    @property
    def _finish(self) -> Finish:
        """Its channels are numbers of pixels, from 1 on."""
        return _means(self._numbers, self.before, self.after)

    @property
    def _numbers(self) -> Floats:
        return np.arange(1.0, self.window.kernel**2 + 1)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {"by_number": self._finish.channels(-self._numbers.astype(np.int64) * self.before.zero)}

    def arguments(self) -> list[Word]:
        height, width, channels, kernel, stride, _, out_height, out_width = self.window.words(self.num_channels)
        sizes = [height, width, channels, kernel, stride, out_height, out_width]
        return ["x", "y", "by_number", *sizes, *self._finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        ones = np.ones((*inputs[0].shape[-3:-1], 1), np.int32)
        sums, there = (
            functools.reduce(np.add, gathered(x, self.window, fill=0))
            for x in (inputs[0].astype(np.int32) - self.before.zero, ones)
        )
        finish, place = self._finish, np.repeat(there - 1, self.num_channels, axis=-1)
        return Finish(finish.multipliers[place], finish.shifts[place], finish.left, finish.zero)(sums)


@dataclass(frozen=True, eq=False, kw_only=True)
class MaxPool(Call):
    """Pixels outside do not count."""

    kernel = "max_pool"

    window: Window
    num_channels: int

    @property
    def geometry(self) -> tuple[int, ...]:
        return (*self.window.sizes, self.num_channels)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {}

    def arguments(self) -> list[Word]:
        return ["x", "y", *self.window.words(self.num_channels)]

    def reference(self, *inputs: Bytes) -> Bytes:
        return functools.reduce(np.maximum, gathered(inputs[0], self.window, fill=LOW))
