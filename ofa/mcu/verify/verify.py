"""A bundle put to the test: built, run on an emulated board, and held to what it says of itself."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latency_tables.cortex_m.boards import Board
from ofa.mcu.bundle.manifest import Manifest, check_files, read_manifest
from ofa.mcu.verify.build import Built, build_host, build_image
from ofa.mcu.verify.machine import Broken, Machine
from ofa.mcu.verify.qemu import run_in_qemu
from search_spaces.common.errors import UserError, unknown_name

EMULATORS = ("unicorn", "qemu")
Emulator = Literal["unicorn", "qemu"]

#: how far a prediction may be off, as a share
TOLERANCES = {"arena": 0.0, "flash": 0.01, "instructions": 0.001}


@dataclass(frozen=True)
class Claim:
    """What the bundle says and what was found; `tolerance` is a share."""

    name: str
    predicted: int
    found: int
    tolerance: float

    @property
    def holds(self) -> bool:
        return abs(self.found - self.predicted) <= self.tolerance * self.predicted


@dataclass(frozen=True)
class Verification:
    """Bytes, but for numbers of images and instructions.

    `num_golden` outputs were compared with the integer reference, `num_random` with the same C on this machine.
    `sram_bytes` are static: the arena and what else is variable. `instructions` of an inference, None where the
    emulator does not count; `claims` leaves out what was not predicted for this compiler and core.
    """

    bundle: str
    board: str
    compiler: str
    emulator: str
    num_golden: int
    num_random: int
    wrong: tuple[int, ...]
    arena_bytes: int
    sram_bytes: int
    sram_size: int
    stack_bytes: int
    stack_size: int
    flash_bytes: int
    flash_size: int
    instructions: int | None
    claims: tuple[Claim, ...]

    @property
    def stack_holds(self) -> bool:
        """A stack that was written to its very end may have grown beyond."""
        return self.stack_bytes < self.stack_size

    @property
    def holds(self) -> bool:
        return not self.wrong and self.stack_holds and all(claim.holds for claim in self.claims)

    @property
    def complaint(self) -> str:
        """What does not hold, in a few words."""
        if self.wrong:
            return f"{len(self.wrong)} of {self.num_golden + self.num_random} outputs are wrong"
        if not self.stack_holds:
            return "the stack was written to its end"
        return f"{', '.join(claim.name for claim in self.claims if not claim.holds)} not as claimed"

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        claims = [{**asdict(claim), "holds": claim.holds} for claim in self.claims]
        return {**asdict(self), "wrong": list(self.wrong), "claims": claims, "holds": self.holds}


def verify_bundle(
    folder: Path,
    *,
    board: Board | None = None,
    num_images: int | None = None,
    compiler: str = "zig",
    emulator: str = "unicorn",
    seed: int = 0,
) -> Verification:
    """Build `folder`, run `num_images` on `board` (the bundle's own), and compare.

    The first images are the golden ones; where `num_images` asks for more, random ones follow. Raises `UserError` for a
    damaged bundle, a board that it does not fit, a compiler or an emulator that is not installed, and `OutsideMemory`
    for an image that leaves the board's memory.
    """
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    board = manifest.board if board is None else board
    _check_fits(manifest, board, folder)
    if emulator not in EMULATORS:
        raise unknown_name("emulator", emulator, EMULATORS, key="emulator")
    images, expected, num_golden = _images(folder, manifest, num_images, seed)
    built = build_image(folder, manifest, board, compiler=compiler)
    if emulator == "qemu":
        qemu = run_in_qemu(folder, manifest, board, images, compiler=compiler)
        title, found, stack, instructions = qemu.title, qemu.outputs, qemu.stack_bytes, None
    else:
        title, found, stack, instructions = _in_unicorn(built, manifest, board, images)
    wrong = [number for number, output in enumerate(expected) if number >= len(found) or found[number] != output]
    return Verification(
        bundle=manifest.name,
        board=board.name,
        compiler=built.compiler,
        emulator=title,
        num_golden=num_golden,
        num_random=len(expected) - num_golden,
        wrong=tuple(wrong),
        arena_bytes=built.arena_bytes,
        sram_bytes=built.static_bytes,
        sram_size=board.sram.size,
        stack_bytes=stack,
        stack_size=built.symbols["ofa_stack_top"] - built.symbols["ofa_stack_bottom"],
        flash_bytes=built.flash_bytes(board),
        flash_size=board.flash.size,
        instructions=instructions,
        claims=_claims(manifest, board, built, instructions),
    )


def _in_unicorn(
    built: Built, manifest: Manifest, board: Board, images: Sequence[bytes]
) -> tuple[str, list[bytes], int, int]:
    machine = Machine(built, manifest, board)
    runs = [machine.run(image) for image in images]
    counts = {run.instructions for run in runs}
    if len(counts) > 1:
        raise Broken(f"instructions depend on the image: {min(counts):,} to {max(counts):,}")
    return machine.title, [run.output for run in runs], machine.stack_bytes, counts.pop()


def _images(folder: Path, manifest: Manifest, num: int | None, seed: int) -> tuple[list[bytes], list[bytes], int]:
    """Inputs, the outputs there should be, and how many of them are golden."""
    golden = manifest.golden
    inputs = _parts(folder / golden.inputs, manifest.input.num_bytes, golden.num)
    outputs = _parts(folder / golden.outputs, manifest.output.num_bytes, golden.num)
    if num is None or num <= golden.num:
        return inputs[:num], outputs[:num], len(inputs[:num])
    rng = np.random.default_rng(seed)
    size, more = manifest.input.num_bytes, []
    for number in range(num - golden.num):  # every other one of extremes alone
        values = rng.integers(-128, 128, size) if number % 2 else rng.choice([-128, 127], size)
        more.append(values.astype(np.int8).tobytes())
    return [*inputs, *more], [*outputs, *_on_this_machine(folder, manifest, more)], golden.num


def _on_this_machine(folder: Path, manifest: Manifest, images: Sequence[bytes]) -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="ofa-host-") as name:
        place = Path(name)
        program = build_host(folder, manifest, place / "net")
        if program is None:
            hint = "pip install 'ofa-nas[mcu]', or ask for no more images than the golden ones"
            raise UserError("random images need a C compiler for this machine", key="images", hint=hint)
        (place / "inputs.bin").write_bytes(b"".join(images))
        subprocess.run([program, "--run", "inputs.bin", "outputs.bin"], cwd=place, check=True, capture_output=True)
        return _parts(place / "outputs.bin", manifest.output.num_bytes, len(images))


def _parts(path: Path, size: int, num: int) -> list[bytes]:
    data = path.read_bytes()
    if len(data) != size * num:
        raise UserError(f"has {len(data)} bytes, not {num} times {size}", file=path)
    return [data[start : start + size] for start in range(0, len(data), size)]


def _check_fits(manifest: Manifest, board: Board, folder: Path) -> None:
    needed = manifest.claims.arena + board.stack
    if needed > board.sram.size:
        raise UserError(
            f"{board.name} has {board.sram.size:,} bytes of SRAM, the network needs {needed:,}: "
            f"{manifest.claims.arena:,} for its maps, set by {manifest.claims.peak_layers}, "
            f"and {board.stack:,} of stack",
            file=folder,
            key="board",
        )


def _claims(manifest: Manifest, board: Board, built: Built, instructions: int | None) -> tuple[Claim, ...]:
    said = manifest.claims
    found = [("arena", said.arena, built.arena_bytes)]
    if board.core == manifest.board.core and built.compiler in said.flash:
        if board.name == manifest.board.name:
            found.append(("flash", said.flash[built.compiler], built.flash_bytes(board)))
        if instructions is not None and built.compiler in said.instructions:
            found.append(("instructions", said.instructions[built.compiler], instructions))
    return tuple(Claim(name, predicted, real, TOLERANCES[name]) for name, predicted, real in found)
