"""1x1 convolutions and linear layers; dense convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.windows import Window, gathered, window_leads
from latency_tables.cortex_m.exact import products
from latency_tables.cortex_m.program import Call, Word
from latency_tables.cortex_m.quantization import Bytes, Finish, Ints


def lay_out(weights: Bytes) -> Bytes:
    """(O, I) as `struct pointwise` has it: pairs of outputs, fours of inputs, padded with zeros."""
    padded = np.pad(weights, ((0, -len(weights) % 2), (0, -weights.shape[1] % 4)))
    return padded.reshape(len(padded) // 2, 2, -1, 4).transpose(0, 2, 1, 3)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Dense(Call):
    """`biases` (O,) have the input's zero in them: -zero * the sum of weights, so that sums take q as it is."""

    biases: Ints
    finish: Finish

    def _constants(self, rows: Bytes) -> Mapping[str, NDArray[np.integer]]:
        return {
            "weights": lay_out(rows),
            "channels": self.finish.channels(self.biases, multiple=2),
            **self.finish.constants(),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(_Dense):
    """`weights` (O, I) at each of `pixels`."""

    kernel = "pointwise"

    weights: Bytes
    pixels: int

    @property
    def geometry(self) -> tuple[int, ...]:
        return (self.pixels, *self.weights.shape, self.finish.table is not None)

    @property
    def macs(self) -> int:
        return self.pixels * self.weights.size

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return self._constants(self.weights)

    def arguments(self) -> list[Word]:
        out, inputs = self.weights.shape
        sizes = [self.pixels, inputs, -(-inputs // 4), out]
        return ["x", "y", "weights", "channels", *sizes, *self.finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        return self.finish(products(inputs[0], self.weights), self.biases)


@dataclass(frozen=True, eq=False, kw_only=True)
class OverwritingPointwise(Pointwise):
    """One whose output may be written over what it has read of its input."""

    @property
    def leads(self) -> tuple[int, int]:
        out, inputs = self.weights.shape
        return window_leads(Window(self.pixels, 1, 1, 1, 0, self.pixels, 1), inputs, out, across=1)


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution(_Dense):
    """`weights` (O, kernel, kernel, I)."""

    kernel = "convolution"

    weights: Bytes
    window: Window
    zero: int

    @property
    def geometry(self) -> tuple[int, ...]:
        channels = (self.weights.shape[0], self.weights.shape[3])
        return (*self.window.sizes, *channels, self.finish.table is not None, self.scratch_bytes > 0)

    @property
    def macs(self) -> int:
        return self.window.out_pixels * self.weights.size

    @property
    def scratch_bytes(self) -> int:
        return 8 * self._words

    @property
    def _words(self) -> int:
        return -(-self.weights[0].size // 4)

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return self._constants(self.weights.reshape(len(self.weights), -1))

    def arguments(self) -> list[Word]:
        out, inputs = self.weights.shape[0], self.weights.shape[3]
        sizes = [*self.window.words(inputs), self._words, out, self.zero]
        scratch = "scratch" if self.scratch_bytes else "null"
        return ["x", "y", scratch, "weights", "channels", *sizes, *self.finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        windows = np.concatenate(gathered(inputs[0], self.window, fill=self.zero), axis=-1)
        return self.finish(products(windows, self.weights.reshape(len(self.weights), -1)), self.biases)


#: bytes of windows that lie on the stack, `OFA_SMALL_WINDOWS` of the kernels
_SMALL_WINDOWS = 160


@dataclass(frozen=True, eq=False, kw_only=True)
class OverwritingConvolution(Convolution):
    """One whose output may be written over what it has read of its input: between the two is no room for windows."""

    @property
    def scratch_bytes(self) -> int:
        return 0 if super().scratch_bytes <= _SMALL_WINDOWS else super().scratch_bytes

    @property
    def leads(self) -> tuple[int, int]:
        return window_leads(self.window, self.weights.shape[3], len(self.weights), across=1)
