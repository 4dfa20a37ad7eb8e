"""A program as the bytes that the linked kernels read: steps, their arguments, constants; and where activations lie."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.compilers import KERNELS, Firmware
from latency_tables.cortex_m.program import Program

#: where a network's constants begin
NETWORK = 0x0010_0000
MEMORY = 0x2000_0000
#: the stack is below, activations are above
ARENA = MEMORY + 0x1_0000

_ALIGNMENT = 16


@dataclass(frozen=True)
class Image:
    """`constants` belong at `NETWORK`; addresses are those of the input and the output map."""

    constants: bytes
    arena_bytes: int
    input_address: int
    output_address: int


def build_image(program: Program, firmware: Firmware) -> Image:
    """Lay out `program` for the kernels in `firmware`."""
    layout = plan(program)
    places: dict[str, int] = {name: ARENA + offset for name, offset in layout.offsets.items()}
    kernels = _kernel_addresses(firmware)
    sizes = [4 * len(call.arguments()) for call in program.calls]
    arguments_at = NETWORK + 8 + 8 * len(program.calls)
    constants_at = _aligned(arguments_at + sum(sizes))

    steps, arguments, constants = bytearray(), bytearray(), bytearray()
    for call, size in zip(program.calls, sizes, strict=True):
        here = {"x": places[call.inputs[0]], "y": places[call.output], "null": 0}
        here |= {word: places[name] for word, name in zip(("second", "third"), call.inputs[1:], strict=False)}
        if call.scratch_bytes:
            here["scratch"] = ARENA + layout.scratch[call.output]
        for name, array in call.constants().items():
            constants += bytes(-len(constants) % _ALIGNMENT)
            here[name] = constants_at + len(constants)
            constants += _bytes(array)
        steps += struct.pack("<II", kernels[call.kernel], arguments_at + len(arguments))
        words = [here[word] if isinstance(word, str) else word & 0xFFFF_FFFF for word in call.arguments()]
        arguments += struct.pack(f"<{len(words)}I", *words)
        assert len(words) * 4 == size
    head = struct.pack("<Ii", NETWORK + 8, len(program.calls))
    data = head + steps + arguments
    data += bytes(constants_at - NETWORK - len(data))
    return Image(data + constants, layout.num_bytes, places[program.input], places[program.output])


def _kernel_addresses(firmware: Firmware) -> dict[str, int]:
    table = firmware.symbols["ofa_kernels"]
    for address, data in firmware.segments:
        if address <= table < address + len(data):
            return dict(zip(KERNELS, struct.unpack_from(f"<{len(KERNELS)}I", data, table - address), strict=True))
    raise AssertionError("no segment holds the table of kernels")


def _bytes(array: NDArray[np.integer]) -> bytes:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _aligned(number: int) -> int:
    return -(-number // _ALIGNMENT) * _ALIGNMENT
