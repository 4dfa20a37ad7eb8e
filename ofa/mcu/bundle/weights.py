"""All constants of a program in one run of bytes: what `weights.bin` is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latency_tables.cortex_m.program import Program

_ALIGNMENT = 16


@dataclass(frozen=True)
class Weights:
    """`places[i]` are the offsets of the constants of call i, by name: multiples of 16."""

    data: bytes
    places: tuple[dict[str, int], ...]


def lay_out_weights(program: Program) -> Weights:
    """Call after call, little-endian, each constant padded to a multiple of 16 bytes."""
    data, places = bytearray(), []
    for call in program.calls:
        here = {}
        for name, array in call.constants().items():
            here[name] = len(data)
            data += np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            data += bytes(-len(data) % _ALIGNMENT)
        places.append(here)
    return Weights(bytes(data) or bytes(_ALIGNMENT), tuple(places))
