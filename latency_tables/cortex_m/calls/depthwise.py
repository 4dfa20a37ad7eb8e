"""Depthwise convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.windows import Window, gathered
from latency_tables.cortex_m.exact import holding, sum_of_products
from latency_tables.cortex_m.program import Call, Word
from latency_tables.cortex_m.quantization import Bytes, Finish, Ints


@dataclass(frozen=True, eq=False, kw_only=True)
class Depthwise(Call):
    """`weights` (C, kernel, kernel), `biases` (C,) without the input's `zero`, which the kernel takes off."""

    kernel = "depthwise"

    weights: Bytes
    biases: Ints
    window: Window
    zero: int
    finish: Finish

    @property
    def geometry(self) -> tuple[int, ...]:
        return (*self.window.sizes, len(self.weights), self.finish.table is not None)

    @property
    def macs(self) -> int:
        return self.window.out_pixels * self.weights.size

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        rows = self.weights.reshape(len(self.weights), -1)
        fours = np.pad(rows, ((0, -len(rows) % 4), (0, 0))).reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1)
        channels = self.finish.channels(self.biases, multiple=4)
        return {"weights": fours, "channels": channels, **self.finish.constants()}

    def arguments(self) -> list[Word]:
        sizes = [*self.window.words(len(self.weights)), self.zero]
        return ["x", "y", "weights", "channels", *sizes, *self.finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        kind = holding(255.0 * 128 * self.window.kernel**2)
        taps = gathered(inputs[0].astype(kind) - self.zero, self.window, fill=0)
        factors = self.weights.reshape(len(self.weights), -1).T.astype(kind)
        return self.finish(sum_of_products(taps, factors), self.biases)
