"""Windows that slide over an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """Square, `pad` pixels over the near edges; `out_height` and `out_width` say how far over the others."""

    height: int
    width: int
    kernel: int
    stride: int
    pad: int
    out_height: int
    out_width: int

    @staticmethod
    def over(height: int, width: int, kernel: int, stride: int, pad: int) -> Window:
        """As many as fit, with as much padding at the far edges as at the near ones."""
        out_height, out_width = ((side + 2 * pad - kernel) // stride + 1 for side in (height, width))
        return Window(height, width, kernel, stride, pad, out_height, out_width)

    @property
    def out_pixels(self) -> int:
        return self.out_height * self.out_width

    @property
    def shrinks(self) -> bool:
        """Whether the output is no higher and no wider than the input."""
        return self.out_height <= self.height and self.out_width <= self.width

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.height, self.width, self.kernel, self.stride, self.pad, self.out_height, self.out_width)

    def words(self, channels: int) -> list[int]:
        """As the kernels' structs have them."""
        return [self.height, self.width, channels, *self.sizes[2:]]


def window_leads(window: Window, in_bytes: int, out_bytes: int, *, across: int) -> tuple[int, int]:
    """See `Call.leads`: of a kernel that writes pixels of `out_bytes`, from the last on or from the first on, and reads
    all pixels of `in_bytes` in the rows under their windows. What is written at once is the pixels of a row and
    `across` of those before or behind it.
    """
    behind = before = 0
    row_bytes, most = window.width * in_bytes, window.out_pixels
    for row in range(window.out_height):
        top = row * window.stride - window.pad
        first, last = row * window.out_width, (row + 1) * window.out_width - 1
        read = min(window.height, top + window.kernel) * row_bytes
        behind = max(behind, read - max(0, first - across) * out_bytes)
        before = max(before, min(most, last + 1 + across) * out_bytes - max(0, top) * row_bytes)
    return behind, before


def gathered(x: NDArray[Any], window: Window, *, fill: int) -> list[NDArray[Any]]:
    """Of images (..., height, width, channels): for each place of the window, row by row, the pixels at this place of
    all windows, (..., out_height, out_width, channels), `fill` outside. Views of one padded copy.
    """
    far_y = (window.out_height - 1) * window.stride + window.kernel - window.pad - window.height
    far_x = (window.out_width - 1) * window.stride + window.kernel - window.pad - window.width
    sides = ((window.pad, max(far_y, 0)), (window.pad, max(far_x, 0)), (0, 0))
    padded = np.pad(x, (*((0, 0),) * (x.ndim - 3), *sides), constant_values=fill)
    return [
        padded[
            ...,
            row : row + (window.out_height - 1) * window.stride + 1 : window.stride,
            column : column + (window.out_width - 1) * window.stride + 1 : window.stride,
            :,
        ]
        for row in range(window.kernel)
        for column in range(window.kernel)
    ]
