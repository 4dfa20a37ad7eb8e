"""Inverted residuals, one row of outputs at a time.

The block is that of M. Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018. That the
expanded map need not exist as a whole is from there too (section 5); here it exists by rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.dense import Pointwise
from latency_tables.cortex_m.calls.depthwise import Depthwise
from latency_tables.cortex_m.calls.elementwise import Add
from latency_tables.cortex_m.program import Call, Word
from latency_tables.cortex_m.quantization import Bytes

#: words of the structs of parts that are not there
_POINTWISE_WORDS, _ADD_WORDS = 13, 11

#: addresses that the kernel gives its parts
_GIVEN = ("x", "y", "second", "scratch")


@dataclass(frozen=True, eq=False, kw_only=True)
class InvertedBottleneck(Call):
    """`expand` if there is one, `depthwise`, `project`: equal to these calls in a row, to the bit.

    The rows that a depthwise window reads are expanded into a ring; no other row of the expanded maps exists.
    """

    kernel = "inverted_residual"

    expand: Pointwise | None
    depthwise: Depthwise
    project: Pointwise

    @property
    def _parts(self) -> dict[str, Call]:
        found = {"expand": self.expand, "depthwise": self.depthwise, "project": self.project}
        return {name: part for name, part in found.items() if part is not None}

    @property
    def _residual(self) -> bool:
        return False

    @property
    def ring_rows(self) -> int:
        """Rows of the depthwise convolution's input in scratch memory: none if it reads the block's input."""
        window = self.depthwise.window
        return min(window.kernel, window.height) if self._residual or self.expand is not None else 0

    @property
    def geometry(self) -> tuple[int, ...]:
        parts = self._parts
        return (len(parts), "expand" in parts, *(number for part in parts.values() for number in part.geometry))

    @property
    def macs(self) -> int:
        return sum(part.macs for part in self._parts.values())

    @property
    def scratch_bytes(self) -> int:
        window, channels = self.depthwise.window, len(self.depthwise.weights)
        rows = self.ring_rows * window.width * channels + window.out_width * channels
        return rows + (window.out_width * len(self.project.weights) if self._residual else 0) + 3

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        return {
            f"{name}_{constant}": array
            for name, part in self._parts.items()
            for constant, array in part.constants().items()
        }

    def arguments(self) -> list[Word]:
        parts = self._parts
        words: list[Word] = ["x", "y", "scratch", self.ring_rows]
        for name, missing in (("expand", _POINTWISE_WORDS), ("depthwise", 0), ("project", 0), ("add", _ADD_WORDS)):
            words += _words(name, parts[name]) if name in parts else [0] * missing
        return words

    def reference(self, *inputs: Bytes) -> Bytes:
        (value,) = inputs
        for part in (self.expand, self.depthwise, self.project):
            value = value if part is None else part.reference(value)
        return value


@dataclass(frozen=True, eq=False, kw_only=True)
class InvertedResidual(InvertedBottleneck):
    """One with the sum of its input (the first term of `add`) and its output, which may be written over the input."""

    in_place = True

    add: Add

    @property
    def _parts(self) -> dict[str, Call]:
        return {**super()._parts, "add": self.add}

    @property
    def _residual(self) -> bool:
        return True

    def reference(self, *inputs: Bytes) -> Bytes:
        return self.add.reference(inputs[0], super().reference(*inputs).reshape(inputs[0].shape))


def _words(name: str, part: Call) -> Iterator[Word]:
    """The arguments of a part, its constants by the names that they have in the whole."""
    for word in part.arguments():
        if isinstance(word, int):
            yield word
        else:
            yield "null" if word in (*_GIVEN, "null") else f"{name}_{word}"
