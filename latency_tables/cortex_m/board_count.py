"""Making the table of a board: every operator counted under emulation, planned, and laid out in flash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from latency_tables.cortex_m import footprint
from latency_tables.cortex_m.board_table import BoardCosts, BoardTable, CheckedBoard, CheckedCosts, PerNetwork
from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.code_size import BOOT, code_bytes, network_flash
from latency_tables.cortex_m.compilers import Firmware, build_firmware
from latency_tables.cortex_m.counting import network_program, operator_program
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.table import (
    HINT,
    LICENCE,
    NUM_CHECKED,
    Counts,
    check_same_count,
    count_programs,
    kernels_source,
    provenance_of,
)
from latency_tables.identity import SpaceIdentity
from latency_tables.table import load_any_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.operators.base import check_plan

#: of a table that turns a channel's pixels into what the network takes; and of what some boot ROMs want to find
_TABLE_BYTES, _BOOT_BYTES = 256, 20

NOTE = "counted and planned, not timed"


def count_board(
    space: SearchSpace,
    board: Board,
    *,
    path: Path,
    seed: int = 0,
    compiler: str = "zig",
    memory_plan: str = "overwriting",
    num_checked: int = NUM_CHECKED,
    replace: bool = False,
) -> BoardTable:
    """Instructions, peak memory and flash of every operator of `space` on `board`, checked on whole networks.

    Goes on after an interruption, is made again byte for byte, returns a finished table at once, as `count_table`.
    Raises `UserError` for a compiler that is missing, an operator without a kernel, and if `path` holds another table,
    unless `replace`.
    """
    check_plan(memory_plan)
    firmware = build_firmware(board.processor, compiler)
    provenance = provenance_of(firmware, seed=seed, num_checked=num_checked) | {"memory_plan": memory_plan}
    journal_path = path.with_suffix(".journal.jsonl")
    if path.exists() and not replace:
        finished = _finished(space, board, provenance, path)
        journal_path.unlink(missing_ok=True)
        return finished
    options = {"seed": seed, "num_checked": num_checked}
    counts = count_programs(space, firmware, provenance, journal_path, **options, plan=memory_plan)
    operators = space.operators()
    programs = {key: operator_program(operator, plan=memory_plan) for key, operator in operators.items()}
    around = around_network(space, board, firmware, programs.values())
    table = BoardTable(
        board=board,
        memory_plan="naive" if memory_plan == "naive" else "overwriting",
        note=NOTE,
        licence=LICENCE,
        source=kernels_source(board.core),
        provenance=provenance,
        space=SpaceIdentity.of(space),
        per_network=PerNetwork(instructions=counts.around, flash=around),
        entries={key: _costs(program, counts.operators[key]) for key, program in programs.items()},
    )
    table = table.model_copy(update={"checked": check(table, space, counts, firmware)})
    table.save(path)
    journal_path.unlink(missing_ok=True)
    return table


def around_network(space: SearchSpace, board: Board, firmware: Firmware, programs: Iterable[Program]) -> int:
    """Bytes of flash that a network of these operators has besides them: start-up, all kernels that any of them calls,
    and a table of 256 bytes for every channel of its images.
    """
    kernels = {call.kernel for program in programs for call in program.calls}
    return code_bytes(firmware, kernels) + _BOOT_BYTES * (board.name in BOOT) + _TABLE_BYTES * space.in_channels


def check(table: BoardTable, space: SearchSpace, counts: Counts, firmware: Firmware) -> CheckedBoard:
    """The table's word for every network of `counts` against the network as a whole: emulated in one run, planned, and
    laid out as the linker will.
    """
    rows = space.encode(list(counts.networks))
    told = {one.metric: one.cost(space).evaluate(rows) for one in table.tables()}
    networks = []
    for number, (architecture, instructions) in enumerate(counts.networks.items()):
        program = network_program(space, architecture, plan=table.memory_plan)
        image = network_flash(program, firmware, num_tables=space.in_channels, board=table.board.name)
        observed = _costs(program, instructions).model_copy(update={"flash": image})
        predicted = BoardCosts(**{metric: int(values[number]) for metric, values in told.items()})
        networks.append(CheckedCosts(architecture=architecture.to_json(), predicted=predicted, observed=observed))
    return CheckedBoard.of(networks)


def _costs(program: Program, instructions: int) -> BoardCosts:
    return BoardCosts(
        instructions=instructions, peak_memory=footprint.peak_memory(program), flash=footprint.flash(program)
    )


def _finished(space: SearchSpace, board: Board, provenance: dict[str, str], path: Path) -> BoardTable:
    """The table at `path`, if it is the one that would be made."""
    found = load_any_table(path)
    if not isinstance(found, BoardTable):
        raise UserError("holds another table, not that of a board", file=path, hint=HINT)
    if found.board != board:
        what = f"holds a table of {found.board.name!r}, not of {board.name!r} as it is now"
        raise UserError(what, file=path, key="board", hint=HINT)
    check_same_count(found.space, found.provenance, space, provenance, path)
    return found
