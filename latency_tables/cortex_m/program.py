"""A network as calls of kernels, each with all it needs: quantised weights, multipliers, sizes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.quantization import Affine, Bytes

#: (height, width, channels); vectors are (1, 1, features)
Map = tuple[int, int, int]

#: an argument: a number, or the name of an address ("x", "y", "second", "third", "scratch", "null" or a constant's)
Word = int | str


@dataclass(frozen=True, eq=False, kw_only=True)
class Call(ABC):
    """One call of a kernel: reads the maps `inputs`, writes the map `output`."""

    kernel: ClassVar[str]
    in_place: ClassVar[bool] = False
    """Whether the output may lie where the first input is."""

    inputs: tuple[str, ...]
    output: str

    @property
    @abstractmethod
    def geometry(self) -> tuple[int, ...]:
        """All that decides how many instructions the call takes."""

    @property
    def macs(self) -> int:
        return 0

    @property
    def scratch_bytes(self) -> int:
        return 0

    @abstractmethod
    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        """What lies in flash, by name, laid out as the kernel reads it."""

    @abstractmethod
    def arguments(self) -> list[Word]:
        """The kernel's struct, word by word."""

    @abstractmethod
    def reference(self, *inputs: Bytes) -> Bytes:
        """What the kernel writes, computed with numpy from the weights as they are before they are laid out.

        Inputs are (..., height, width, channels): one image, or a batch of any leading shape.
        """


@dataclass(frozen=True, eq=False)
class Program:
    """Calls in order, with the shape and the quantisation of every map."""

    calls: Sequence[Call]
    input: str
    output: str
    shapes: Mapping[str, Map]
    affine: Mapping[str, Affine] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Bytes of a map."""
        return math.prod(self.shapes[name])

    @property
    def macs(self) -> int:
        return sum(call.macs for call in self.calls)

    def reference(self, x: Bytes) -> Bytes:
        """The output (..., height, width, channels) for the input `x` of that form, by numpy, bit for bit: for one
        image, or a batch of any leading shape. A map is dropped after its last use.
        """
        maps, lead = {self.input: x}, x.shape[:-3]
        last = {name: step for step, call in enumerate(self.calls) for name in call.inputs}
        for step, call in enumerate(self.calls):
            output = call.reference(*(maps[name] for name in call.inputs))
            maps[call.output] = output.reshape(*lead, *self.shapes[call.output])
            for name in {*call.inputs} - {self.output, call.output}:
                if last[name] == step:
                    del maps[name]
        return maps[self.output]
