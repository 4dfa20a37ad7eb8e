"""Running a program on an emulated core, and counting its instructions.

Unicorn tells of every basic block as it is entered; how many instructions a block has is read from its bytes once. So
the count is exact: it has instructions that were skipped by a condition, as a core has, and nothing else.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.image import ARENA, MEMORY, NETWORK, build_image
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Bytes
from search_spaces.common.errors import UserError

_PAGE = 4096


@dataclass(frozen=True)
class Emulated:
    """`instructions` from reset to the end of one inference, and its output (height, width, channels)."""

    instructions: int
    output: Bytes


def emulate(program: Program, firmware: Firmware, x: Bytes | None = None) -> Emulated:
    """One inference on `x` (height, width, channels), zeros unless given. Raises `UserError` without unicorn."""
    unicorn, arm = _unicorn(), importlib.import_module("unicorn.arm_const")
    image = build_image(program, firmware)
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    machine.ctl_set_cpu_model(getattr(arm, firmware.core.unicorn))
    code_end = max(address + len(data) for address, data in firmware.segments)
    assert code_end <= NETWORK
    for address, size in (
        (0, code_end),
        (NETWORK, len(image.constants)),
        (MEMORY, ARENA - MEMORY + image.arena_bytes + 4),
    ):
        machine.mem_map(address, -(-size // _PAGE) * _PAGE)
    for address, data in (*firmware.segments, (NETWORK, image.constants)):
        machine.mem_write(address, data)
    if x is not None:
        machine.mem_write(image.input_address, np.ascontiguousarray(x).tobytes())

    lengths: dict[tuple[int, int], int] = {}
    total = 0

    def enter(machine: Any, address: int, size: int, data: Any) -> None:
        nonlocal total
        try:
            total += lengths[address, size]
        except KeyError:
            lengths[address, size] = _num_instructions(bytes(machine.mem_read(address, size)))
            total += lengths[address, size]

    machine.hook_add(unicorn.UC_HOOK_BLOCK, enter)
    machine.reg_write(arm.UC_ARM_REG_SP, firmware.symbols["ofa_stack_top"])
    try:
        machine.emu_start(firmware.symbols["ofa_start"] | 1, firmware.symbols["ofa_stop"])
    except unicorn.UcError as error:
        where = machine.reg_read(arm.UC_ARM_REG_PC)
        raise RuntimeError(f"the emulated {firmware.core.name} stopped at {where:#x}: {error}") from error
    shape = program.shapes[program.output]
    output = bytes(machine.mem_read(image.output_address, program.size(program.output)))
    return Emulated(total, np.frombuffer(output, dtype=np.int8).reshape(shape))


def _num_instructions(code: bytes) -> int:
    """Of Thumb code: a first half-word of 0b11101, 0b11110 or 0b11111 begins an instruction of two."""
    place = number = 0
    while place < len(code):
        place += 4 if code[place + 1] >> 3 in (0b11101, 0b11110, 0b11111) else 2
        number += 1
    assert place == len(code)
    return number


def emulator_version() -> str:
    return f"unicorn {_unicorn().__version__}"


def _unicorn() -> Any:
    try:
        return importlib.import_module("unicorn")
    except ModuleNotFoundError as error:
        hint = "pip install 'ofa-nas[mcu]'"
        raise UserError("counting needs the package 'unicorn', which is not installed", hint=hint) from error
