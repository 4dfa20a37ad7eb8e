"""The golden inputs through QEMU: another emulator than the one that counts, by files of the host (semihosting).

QEMU's mps2 boards have memory at other addresses than the board, and more of it: the image is linked for theirs in the
board's sizes, and the core's memory protection unit closes what is beyond.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from latency_tables.cortex_m.boards import Board, Memory
from ofa.mcu.bundle.manifest import Manifest
from ofa.mcu.verify.build import build_image
from search_spaces.common.errors import UserError

_PROGRAM = "qemu-system-arm"
_FLASH, _SRAM = 0x0000_0000, 0x2000_0000
_MOST = 4 * 1024 * 1024


@dataclass(frozen=True)
class FoundByQemu:
    title: str
    outputs: list[bytes]
    stack_bytes: int


def run_in_qemu(
    folder: Path, manifest: Manifest, board: Board, images: list[bytes], *, compiler: str, timeout: float = 600
) -> FoundByQemu:
    """Raises `UserError` without QEMU, for a core or sizes that none of its boards has, or if the image ends early."""
    machine = board.processor.board
    if shutil.which(_PROGRAM) is None:
        hint = "apt-get install --no-install-recommends qemu-system-arm, or take the emulator unicorn"
        raise UserError(f"needs {_PROGRAM}, which is not installed", key="emulator", value="qemu", hint=hint)
    if machine is None or max(board.sram.size, board.flash.size) > _MOST:
        raise UserError(
            f"no machine of QEMU stands for {board.name} ({board.core})",
            key="emulator",
            value="qemu",
            hint="Take the emulator unicorn",
        )
    there = board.model_copy(
        update={
            "flash": Memory(origin=_FLASH, size=board.flash.size),
            "sram": Memory(origin=_SRAM, size=board.sram.size),
        }
    )
    regions = [
        f"OFA_MPU_{name}={_region(size)}" for name, size in (("FLASH", board.flash.size), ("SRAM", board.sram.size))
    ]
    built = build_image(folder, manifest, there, compiler=compiler, main="semihosting.c", define=regions)
    title = subprocess.run([_PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    with tempfile.TemporaryDirectory(prefix="ofa-qemu-") as name:
        place = Path(name)
        (place / "golden").mkdir()
        (place / "golden" / "inputs.bin").write_bytes(b"".join(images))
        (place / "net.elf").write_bytes(built.elf)
        command = [_PROGRAM, "-M", machine, "-display", "none", "-monitor", "none", "-serial", "none"]
        command += ["-semihosting-config", "enable=on,target=native", "-kernel", "net.elf"]
        try:
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"did not end within {timeout:g} s", key="emulator", value="qemu") from None
        said = dict(re.findall(r"^(\w+) (\d+)$", done.stderr, re.MULTILINE))
        if done.returncode or "stack_bytes" not in said:
            reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
            raise UserError(f"the image stopped in QEMU: {reason}", key="emulator", value="qemu")
        found = (place / "found_outputs.bin").read_bytes()
    size = manifest.output.num_bytes
    outputs = [found[start : start + size] for start in range(0, len(found), size)]
    return FoundByQemu(title, outputs, int(said["stack_bytes"]))


def _region(size: int) -> str:
    """Size and closed eighths of a region of the memory protection unit that begins where memory does, as its register
    has them (Arm DDI 0403, B3.5.9).
    """
    power = max(size - 1, 255).bit_length()
    open_eighths = -(-size * 8 // 2**power)
    return f"{(0xFF << open_eighths & 0xFF) << 8 | (power - 1) << 1 | 1:#x}u"
