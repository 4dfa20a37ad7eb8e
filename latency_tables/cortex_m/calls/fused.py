"""Several calls as one: what kernels have in common that are made of other kernels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.calls.dense import Pointwise
from latency_tables.cortex_m.program import Call, Program, Word
from latency_tables.cortex_m.quantization import Bytes

#: a row of tokens is read by fours of bytes
SPARE = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Call):
    """`parts` says what is computed: its calls lead from the map `inputs[0]` to `output`."""

    in_place = True

    parts: Program

    @property
    @abstractmethod
    def roles(self) -> Mapping[str, Call]:
        """Its parts by what they are for."""

    @property
    def geometry(self) -> tuple[int, ...]:
        return tuple(number for call in self.parts.calls for number in call.geometry)

    @property
    def macs(self) -> int:
        return self.parts.macs

    def constants(self) -> Mapping[str, NDArray[np.integer]]:
        found = {role: call.constants() for role, call in self.roles.items()}
        return {f"{role}_{name}": array for role, constants in found.items() for name, array in constants.items()}

    def nested(self, role: str) -> list[Word]:
        """The struct of a part; of addresses it has those of constants."""
        call = self.roles[role]
        own = {name: f"{role}_{name}" for name in call.constants()}
        return [own.get(word, "null") if isinstance(word, str) else word for word in call.arguments()]

    def nested_layer(self, role: str) -> list[Word]:
        """That of a linear layer, which may be missing."""
        return self.nested(role) if role in self.roles else [*["null"] * 4, *[0] * 8, "null"]

    def reference(self, *inputs: Bytes) -> Bytes:
        return self.parts.reference(*inputs)


def rows_in_turn(layers: list[Pointwise]) -> tuple[int, int]:
    """Bytes for the rows of one or two tokens that layers, one after the other, read and write in turn: those that the
    first reads and the second writes, and those that the first writes.
    """
    pair = min(2, layers[0].pixels)
    widths = [layers[0].weights.shape[1], *(len(layer.weights) for layer in layers)]
    even, odd = (pair * max(widths[start::2]) for start in (0, 1))
    return even + SPARE, odd + SPARE
