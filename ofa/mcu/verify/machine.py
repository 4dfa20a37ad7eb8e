"""A board as an emulator has it: its SRAM, its flash, and nothing else."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.emulator import BlockCounter, emulator_version, load_unicorn
from ofa.mcu.bundle.manifest import Manifest
from ofa.mcu.verify.build import Built
from search_spaces.common.errors import UserError

_PAGE = 4096
_PAINT = b"\xc5"


class Broken(UserError):
    """The image does not do what a bundle promises."""

    exit_code = 1


class OutsideMemory(Broken):
    """It read, wrote or jumped where the board has nothing: it does not run on it."""


@dataclass(frozen=True)
class Inference:
    """`instructions` from the first of `ofa_net_run` to its return."""

    output: bytes
    instructions: int


class Machine:
    """An image that was started on a board, up to its first inference.

    SRAM holds noise before reset, as it does after power-up. Raises `OutsideMemory` for an access outside of SRAM and
    flash, and for a write to flash.
    """

    title = "unicorn"

    def __init__(self, image: Built, manifest: Manifest, board: Board) -> None:
        unicorn, self._arm = load_unicorn(), importlib.import_module("unicorn.arm_const")
        self._unicorn, self._image, self._manifest, self._board = unicorn, image, manifest, board
        self.title = emulator_version()
        self._machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._machine.ctl_set_cpu_model(getattr(self._arm, board.processor.unicorn))
        self._machine.mem_map(
            board.flash.origin, _whole_pages(board.flash.size), unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        )
        self._machine.mem_map(
            board.sram.origin, _whole_pages(board.sram.size), unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        )
        for address, data in image.segments:
            self._machine.mem_write(address, data)
        self._machine.mem_write(board.sram.origin, _noise(board.sram.size))
        self._outside: tuple[str, int] | None = None
        self._machine.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._refuse)
        vectors = self._machine.mem_read(board.flash.origin, 8)
        self._machine.reg_write(self._arm.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._run(int.from_bytes(vectors[4:], "little") & ~1, image.symbols["ofa_net_run"])
        self._before = self._machine.context_save()
        self._back = self._machine.reg_read(self._arm.UC_ARM_REG_LR) & ~1

    def run(self, x: bytes) -> Inference:
        """One inference on an input as the network takes it."""
        arena, port = self._image.symbols["ofa_net_arena"], self._manifest.input
        assert len(x) == port.num_bytes
        self._machine.mem_write(arena + port.offset, x)
        self._machine.context_restore(self._before)  # as it came to the first inference: every one begins alike
        counter = BlockCounter(self._unicorn, self._machine)
        self._run(self._image.symbols["ofa_net_run"], self._back)
        instructions = sum(counter.stop().values())
        port = self._manifest.output
        output = bytes(self._machine.mem_read(arena + port.offset, port.num_bytes))
        return Inference(output, instructions)

    @property
    def stack_bytes(self) -> int:
        """The most of the stack that was ever in use: below, it is still as it was painted."""
        bottom, top = (self._image.symbols[f"ofa_stack_{end}"] for end in ("bottom", "top"))
        stack = bytes(self._machine.mem_read(bottom, top - bottom))
        return len(stack.lstrip(_PAINT))

    def _run(self, address: int, until: int) -> None:
        try:
            self._machine.emu_start(address | 1, until)
        except self._unicorn.UcError as error:
            where = self._image.function_at(self._machine.reg_read(self._arm.UC_ARM_REG_PC))
            board = self._board
            if self._outside is None:
                raise OutsideMemory(f"the emulated {board.core} stopped in {where}: {error}") from error
            what, place = self._outside
            sram, flash = board.sram, board.flash
            raise OutsideMemory(
                f"{where} {what} {place:#010x}, but {board.name} has SRAM at {sram.origin:#010x} to {sram.end:#010x} "
                f"and flash at {flash.origin:#010x} to {flash.end:#010x} (not to be written)"
            ) from error

    def _refuse(self, machine: Any, access: int, address: int, size: int, value: int, data: Any) -> bool:
        unicorn = self._unicorn
        kinds = {
            "writes to": (unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_WRITE_PROT),
            "jumps to": (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT),
        }
        what = next((what for what, accesses in kinds.items() if access in accesses), "reads from")
        self._outside = (what, address)
        return False


def _noise(size: int) -> bytes:
    """The same every time; no byte of it is the paint of the stack."""
    return bytes((37 * number + 11) % 191 for number in range(1024)) * (size // 1024) + bytes(size % 1024)


def _whole_pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
