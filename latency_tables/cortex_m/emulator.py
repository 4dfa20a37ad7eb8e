"""Running a program on an emulated core, and counting its instructions.

Unicorn tells of every basic block as it is entered; which instructions a block has is read from its bytes at the end.
So the count is exact: it has instructions that were skipped by a condition, as a core has, and nothing else.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.image import ARENA, MEMORY, NETWORK, build_image
from latency_tables.cortex_m.instruction_classes import CLASSES, instruction_classes
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.quantization import Bytes
from search_spaces.common.errors import UserError

_PAGE = 4096


@dataclass(frozen=True)
class Emulated:
    """`instructions` from reset to the end of one inference, its output (height, width, channels), and how many of the
    instructions are of each of `instruction_classes.CLASSES`.
    """

    instructions: int
    output: Bytes
    by_class: dict[str, int]


def emulate(program: Program, firmware: Firmware, x: Bytes | None = None) -> Emulated:
    """One inference on `x` (height, width, channels), zeros unless given. Raises `UserError` without unicorn."""
    unicorn, arm = load_unicorn(), importlib.import_module("unicorn.arm_const")
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

    counter = BlockCounter(unicorn, machine)
    machine.reg_write(arm.UC_ARM_REG_SP, firmware.symbols["ofa_stack_top"])
    try:
        machine.emu_start(firmware.symbols["ofa_start"] | 1, firmware.symbols["ofa_stop"])
    except unicorn.UcError as error:
        where = machine.reg_read(arm.UC_ARM_REG_PC)
        raise RuntimeError(f"the emulated {firmware.core.name} stopped at {where:#x}: {error}") from error
    shape = program.shapes[program.output]
    output = bytes(machine.mem_read(image.output_address, program.size(program.output)))
    by_class = counter.stop()
    return Emulated(sum(by_class.values()), np.frombuffer(output, dtype=np.int8).reshape(shape), by_class)


class BlockCounter:
    """Counts what a machine does from now on, until it is stopped."""

    def __init__(self, unicorn: Any, machine: Any) -> None:
        self._machine = machine
        self._visits: dict[tuple[int, int], int] = {}
        self._hook = machine.hook_add(unicorn.UC_HOOK_BLOCK, self._enter)

    def _enter(self, machine: Any, address: int, size: int, data: Any) -> None:
        self._visits[address, size] = self._visits.get((address, size), 0) + 1

    def stop(self) -> dict[str, int]:
        """Instructions by `instruction_classes.CLASSES`."""
        self._machine.hook_del(self._hook)
        by_class = dict.fromkeys(CLASSES, 0)
        for (address, size), number in self._visits.items():
            code = bytes(self._machine.mem_read(address, size))
            for name, count in zip(CLASSES, instruction_classes(code), strict=True):
                by_class[name] += number * count
        return by_class


def emulator_version() -> str:
    return f"unicorn {load_unicorn().__version__}"


def load_unicorn() -> Any:
    """The module. Raises `UserError` where it is not installed."""
    try:
        return importlib.import_module("unicorn")
    except ModuleNotFoundError as error:
        hint = "pip install 'ofa-nas[mcu]'"
        raise UserError("counting needs the package 'unicorn', which is not installed", hint=hint) from error
