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
    def sizes(self) -> tuple[int, ...]:
        return (self.height, self.width, self.kernel, self.stride, self.pad, self.out_height, self.out_width)

    def words(self, channels: int) -> list[int]:
        """As the kernels' structs have them."""
        return [self.height, self.width, channels, *self.sizes[2:]]


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
