"""Bundles that hold what they say, and every way in which they may not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_tables.cortex_m import compilers, emulator
from latency_tables.cortex_m.boards import Board, get_board
from latency_tables.cortex_m.compilers import get_compiler
from ofa.mcu.bundle import read_manifest
from ofa.mcu.verify import verify_bundle
from ofa.mcu.verify.build import build_image
from ofa.mcu.verify.machine import Machine, OutsideMemory
from search_spaces.common.errors import UserError

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="needs qemu-system-arm")
needs_gcc = pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs arm-none-eabi-gcc")

Ofa = Callable[..., Any]
Change = Callable[[Callable[[dict[str, Any]], None]], None]


def test_all_claims_hold_to_the_byte_and_the_instruction(made: Path) -> None:
    found = verify_bundle(made, num_images=5)
    assert found.holds and (found.num_golden, found.num_random) == (3, 2)
    assert {claim.name: claim.found - claim.predicted for claim in found.claims} == dict.fromkeys(
        ("arena", "flash", "instructions"), 0
    )
    assert 0 < found.stack_bytes < found.stack_size == 2048
    assert found.sram_bytes == found.arena_bytes == read_manifest(made).claims.arena


@pytest.mark.parametrize(
    "name",
    ["rp2350", pytest.param("sam3x8e", marks=pytest.mark.slow), pytest.param("stm32f746", marks=pytest.mark.slow)],
)
def test_other_boards_run_it_too(made: Path, name: str) -> None:
    """Other addresses, other cores: M3 without DSP, M7, M33 with its boot block."""
    found = verify_bundle(made, board=get_board(name), num_images=1)
    assert found.holds and found.board == name and found.sram_size == get_board(name).sram.size


@needs_gcc
def test_gcc_makes_another_image_with_the_same_outputs(made: Path) -> None:
    found = verify_bundle(made, compiler="gcc", num_images=1)
    assert found.holds and [claim.name for claim in found.claims] == ["arena"]  # no prediction was made for it


@needs_qemu
def test_qemu_agrees(made: Path) -> None:
    found = verify_bundle(made, emulator="qemu")
    assert found.holds and found.emulator.startswith("QEMU") and found.instructions is None
    with pytest.raises(UserError, match="no machine of QEMU stands for rp2350"):
        verify_bundle(made, emulator="qemu", board=get_board("rp2350"))


def _break(bundle: Path, rehash: Change, pattern: str, replacement: str) -> None:
    source = bundle / "net.c"
    text, number = re.subn(pattern, replacement, source.read_text(), count=1)
    assert number == 1
    source.write_text(text)
    rehash(lambda data: None)


@pytest.mark.parametrize(
    "address, what",
    [("0x20020000", "writes to 0x2002"), ("0x1fffff00", "writes to 0x1fffff"), ("0x08001000", "writes to 0x0800")],
    ids=["behind", "before", "flash"],
)
def test_an_image_that_leaves_the_memory_of_the_board_is_stopped(
    bundle: Path, rehash: Change, address: str, what: str
) -> None:
    """An output that is written behind SRAM (128 KiB), before it, or to flash."""
    _break(bundle, rehash, r"(call_0 = \{\s*AT\(\d+\),) AT\(\d+\)", rf"\1 (void *){address}")
    with pytest.raises(OutsideMemory, match=rf"ofa_convolution\+0x\w+ {what}.* stm32f446 has SRAM") as caught:
        verify_bundle(bundle, num_images=1)
    assert caught.value.exit_code == 1
    if shutil.which("qemu-system-arm"):
        with pytest.raises(UserError, match="stopped in QEMU: fault"):
            verify_bundle(bundle, num_images=1, emulator="qemu")


def test_wrong_outputs_are_found(bundle: Path, rehash: Change, ofa: Ofa) -> None:
    path = bundle / "golden" / "outputs.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    rehash(lambda data: None)
    answer = ofa("verify-mcu", bundle, "--json")
    said = json.loads(answer.out)
    assert answer.code == 1 and said["wrong"] == [2] and not said["holds"]
    answer = ofa("verify-mcu", bundle)
    assert answer.code == 1 and "2 of 3 golden inputs" in answer.out and "WRONG: 2" in answer.out


@pytest.mark.parametrize("claim, factor, holds", [
    ("flash", 1.009, True), ("flash", 1.02, False), ("instructions", 1.002, False), ("arena", 1.001, False)
])  # fmt: skip
def test_claims_are_held_to_their_tolerance(
    bundle: Path, rehash: Change, ofa: Ofa, claim: str, factor: float, holds: bool
) -> None:
    def change(data: dict[str, Any]) -> None:
        claims = data["claims"]
        if claim == "arena":
            claims[claim] = int(claims[claim] * factor) + 1
        else:
            claims[claim] = {compiler: int(number * factor) for compiler, number in claims[claim].items()}

    rehash(change)
    answer = ofa("verify-mcu", bundle, "--images", 1)
    assert answer.code == (0 if holds else 1) and (f"{claim}: DOES NOT HOLD" in answer.out) == (not holds)


def test_changed_missing_and_added_files_are_named(bundle: Path, ofa: Ofa) -> None:
    weights = (bundle / "weights.bin").read_bytes()
    (bundle / "weights.bin").write_bytes(b"\x00" + weights[1:])
    answer = ofa("verify-mcu", bundle)
    assert answer.code == 2 and "weights.bin: this file is not what the bundle was made with" in answer.err
    (bundle / "weights.bin").unlink()
    assert "weights.bin: this file of the bundle is missing" in ofa("verify-mcu", bundle).err
    (bundle / "weights.bin").write_bytes(weights)
    (bundle / "kernels" / "kernels.h.orig").write_text("")
    assert "kernels.h.orig: this file is not of the bundle" in ofa("verify-mcu", bundle).err
    (bundle / "bundle.json").unlink()
    answer = ofa("verify-mcu", bundle)
    assert answer.code == 2 and "not a microcontroller bundle" in answer.err


def test_builds_left_in_a_bundle_are_no_part_of_it(bundle: Path) -> None:
    (bundle / "build").mkdir()
    (bundle / "build" / "firmware.elf").write_bytes(b"")
    assert verify_bundle(bundle, num_images=1).holds


def test_a_file_outside_of_the_bundle_is_refused(bundle: Path, rehash: Change) -> None:
    data = json.loads((bundle / "bundle.json").read_text())
    data["files"]["../secret"] = "0" * 64
    (bundle / "bundle.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="names a file outside of the bundle"):
        verify_bundle(bundle)


def test_a_board_that_is_too_small_is_refused_before_building(bundle: Path, board: Board) -> None:
    arena = read_manifest(bundle).claims.arena
    small = board.model_copy(update={"stack": board.sram.size - arena + 1})
    with pytest.raises(UserError, match=rf"{arena:,} for its maps, set by the layers? .* of stack"):
        verify_bundle(bundle, board=small)


def test_a_stack_that_was_full_is_told(bundle: Path, board: Board) -> None:
    """Painted words are gone to the very end."""
    manifest = read_manifest(bundle)
    built = build_image(bundle, manifest, board, compiler="zig")
    machine = Machine(built, manifest, board)
    before = machine.stack_bytes
    machine._machine.mem_write(built.symbols["ofa_stack_bottom"], b"\x00")
    assert before < machine.stack_bytes == 2048


def test_missing_tools_are_told_with_what_brings_them(made: Path, monkeypatch: pytest.MonkeyPatch, ofa: Ofa) -> None:
    assert "unknown emulator 'quemu'. Did you mean 'qemu'?" in ofa("verify-mcu", made, "--emulator", "quemu").err
    assert "unknown compiler 'icc'" in ofa("verify-mcu", made, "--compiler", "icc").err
    assert "unknown board 'stm32f747'. Did you mean" in ofa("verify-mcu", made, "--board", "stm32f747").err
    monkeypatch.setenv("PATH", "/nowhere")
    answer = ofa("verify-mcu", made, "--emulator", "qemu")
    assert answer.code == 2 and "apt-get install --no-install-recommends qemu-system-arm" in answer.err
    get_compiler.cache_clear()
    answer = ofa("verify-mcu", made, "--compiler", "gcc")
    assert answer.code == 2 and "apt-get install --no-install-recommends gcc-arm-none-eabi" in answer.err
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    get_compiler.cache_clear()
    answer = ofa("verify-mcu", made)
    assert answer.code == 2 and "pip install 'ofa-nas[mcu]'" in answer.err
    monkeypatch.undo()
    get_compiler.cache_clear()

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(emulator.importlib, "import_module", missing)
    answer = ofa("verify-mcu", made)
    assert answer.code == 2 and "'unicorn', which is not installed. pip install 'ofa-nas[mcu]'" in answer.err
