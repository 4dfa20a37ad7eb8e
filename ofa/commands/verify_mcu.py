"""`ofa verify-mcu`: a bundle's claims, checked on an emulated board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa.console import JsonFlag, emit

if TYPE_CHECKING:
    from ofa.mcu.verify import Verification


def verify_mcu(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder of `ofa export --format mcu`.")],
    board: Annotated[
        str | None, typer.Option(help="A board's name or YAML file; left out: the board it was made for.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many: golden ones, then random ones; left out: the golden ones.")
    ] = None,
    compiler: Annotated[str, typer.Option(help="zig (ofa-nas[mcu]) or gcc (arm-none-eabi-gcc).")] = "zig",
    emulator: Annotated[str, typer.Option(help="unicorn (ofa-nas[mcu]) or qemu (qemu-system-arm).")] = "unicorn",
    json: JsonFlag = False,
) -> None:
    """Build a microcontroller bundle, run it with no more memory than its board has, and compare with what it claims.

    Outputs must be those of the integer reference bit for bit, the arena as planned to the byte, flash within 1 %,
    instructions within 0.1 %. Exit code 0: all holds; 1: something does not.
    """
    from latency_tables.cortex_m.boards import get_board
    from ofa.mcu.bundle import read_manifest
    from ofa.mcu.verify import verify_bundle

    read_manifest(bundle)
    chosen = None if board is None else get_board(board, key="--board")
    found = verify_bundle(bundle, board=chosen, num_images=images, compiler=compiler, emulator=emulator)
    if json:
        emit({"folder": str(bundle), **found.facts()})
    else:
        _print(found)
    if not found.holds:
        raise typer.Exit(1)


def _print(found: Verification) -> None:
    print(f"{found.bundle} on {found.board}: {found.compiler}, {found.emulator}")
    same = found.num_golden + found.num_random - len(found.wrong)
    random = f", {found.num_random} random ones" if found.num_random else ""
    print(f"outputs   {same} of {found.num_golden} golden inputs{random} bit for bit")
    if found.wrong:
        print(f"          WRONG: {', '.join(map(str, found.wrong[:10]))}{' ...' if len(found.wrong) > 10 else ''}")
    print(f"SRAM      {found.sram_bytes:,} bytes static, arena {found.arena_bytes:,}, of {found.sram_size:,}")
    full = "" if found.stack_holds else "  FULL: it may have grown beyond"
    print(f"stack     {found.stack_bytes:,} bytes at most, of {found.stack_size:,}{full}")
    print(f"flash     {found.flash_bytes:,} bytes, of {found.flash_size:,}")
    if found.instructions is not None:
        print(f"inference {found.instructions:,} instructions")
    for claim in found.claims:
        said = "as predicted" if claim.predicted == claim.found else f"predicted {claim.predicted:,}"
        verdict = "holds" if claim.holds else "DOES NOT HOLD"
        print(f"{claim.name}: {verdict}, {said}")
