"""Whether a network fits a board, asked before anything is built."""

from __future__ import annotations

from latency_tables.cortex_m.arena import Layout
from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.footprint import call_flash
from latency_tables.cortex_m.program import Program
from search_spaces.common.errors import UserError


def check_fits(program: Program, layout: Layout, board: Board, *, flash: int) -> None:
    """Raises `UserError` with the layers that need most of what there is too little of."""
    needed = layout.num_bytes + board.stack
    if needed > board.sram.size:
        raise UserError(
            f"{board.name} has {board.sram.size:,} bytes of SRAM, the network needs {needed:,}: {layout.num_bytes:,} "
            f"for its maps, set by {peak_layers(program, layout)}, and {board.stack:,} of stack",
            key="sram",
            hint="Take a smaller network (--max peak_memory=...), a lower resolution, or another board",
        )
    if flash > board.flash.size:
        largest = max(program.calls, key=call_flash)
        raise UserError(
            f"{board.name} has {board.flash.size:,} bytes of flash, the network needs {flash:,}; the largest layer is "
            f"{largest.output!r} with {call_flash(largest):,}",
            key="flash",
            hint="Take a smaller network (--max flash=...), or another board",
        )


def peak_layers(program: Program, layout: Layout) -> str:
    """The layers between two moments of one map, where the arena is full."""
    peak = layout.peak
    names = [call.output for call in program.calls[peak.first : peak.last + 1]]
    return f"the layer {names[0]!r}" if len(names) == 1 else f"the layers {names[0]!r} to {names[-1]!r}"
