"""Depthwise convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.windows import Window, gathered, window_leads
from latency_tables.cortex_m.exact import holding, sum_of_products
from latency_tables.cortex_m.program import Call, Word
from latency_tables.cortex_m.quantization import Bytes, Finish, Ints
from search_spaces.common.errors import UserError

#: of a window, `OFA_MOST_ROWS` of the kernels
MOST_ROWS = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Depthwise(Call):
    """`weights` (C, kernel, kernel), `biases` (C,) without the input's `zero`, which the kernel takes off.

    Raises `UserError` for a window of more than `MOST_ROWS` rows.
    """

    kernel = "depthwise"

    weights: Bytes
    biases: Ints
    window: Window
    zero: int
    finish: Finish

    def __post_init__(self) -> None:
        if self.window.kernel > MOST_ROWS:
            limit = f"the largest depthwise convolution of the kernels is {MOST_ROWS} x {MOST_ROWS}"
            raise UserError(limit, key=self.output, value=self.window.kernel)

    @property
    def kept_rows(self) -> int:
        """Rows of the input that lie in scratch memory, since the output is written over them."""
        return 0

    @property
    def geometry(self) -> tuple[int, ...]:
        return (*self.window.sizes, len(self.weights), self.kept_rows, self.finish.table is not None)

    @property
    def macs(self) -> int:
        return self.window.out_pixels * self.weights.size

    @property
    def scratch_bytes(self) -> int:
        """Rows are read up to 3 bytes behind their end."""
        return self.kept_rows * self.window.width * len(self.weights) + 3 if self.kept_rows else 0

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        rows = self.weights.reshape(len(self.weights), -1)
        fours = np.pad(rows, ((0, -len(rows) % 4), (0, 0))).reshape(-1, 4, rows.shape[1]).transpose(0, 2, 1)
        channels = self.finish.channels(self.biases, multiple=4)
        return {"weights": fours, "channels": channels, **self.finish.constants()}

    def arguments(self) -> list[Word]:
        scratch = "scratch" if self.kept_rows else "null"
        sizes = [*self.window.words(len(self.weights)), self.kept_rows, self.zero]
        return ["x", "y", scratch, "weights", "channels", *sizes, *self.finish.words]

    def reference(self, *inputs: Bytes) -> Bytes:
        kind = holding(255.0 * 128 * self.window.kernel**2)
        taps = gathered(inputs[0].astype(kind) - self.zero, self.window, fill=0)
        factors = self.weights.reshape(len(self.weights), -1).T.astype(kind)
        return self.finish(sum_of_products(taps, factors), self.biases)


@dataclass(frozen=True, eq=False, kw_only=True)
class OverwritingDepthwise(Depthwise):
    """One whose output may be written over the rows that it has read of its input."""

    @property
    def leads(self) -> tuple[int, int]:
        return window_leads(self.window, len(self.weights), len(self.weights), across=0)


@dataclass(frozen=True, eq=False, kw_only=True)
class InPlaceDepthwise(Depthwise):
    """One whose output may lie where its input does, whose rows are kept in scratch memory while windows read them.

    The output must be no higher and no wider than the input.
    """

    in_place = True

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.window.shrinks

    @property
    def kept_rows(self) -> int:
        window = self.window
        most = 0
        for row in range(window.out_height):
            reached = -(-(row + 1) * window.out_width // window.width)
            most = max(most, min(reached, window.height) - max(0, row * window.stride - window.pad))
        return most
