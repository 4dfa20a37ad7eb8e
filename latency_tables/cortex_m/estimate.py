"""A guess at milliseconds: instructions by class, times cycles a class, at a clock. Nothing of it is measured.

What it leaves out: flash wait states, caches, dual issue, stalls. It is for saying "tens of milliseconds"; networks are
searched by instructions, and boards are timed with `ofa measure --bundle`'s like or a stopwatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import network_program
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.instruction_classes import CLASSES
from latency_tables.cortex_m.recount import can_recount, plan_of
from latency_tables.listed import ListedTable
from search_spaces import Architecture
from search_spaces.common.errors import UserError, unknown_name

#: cycles: the instruction timings of Arm's Technical Reference Manuals (Cortex-M3: 100165, Cortex-M4: 100166); a load
#: as one that the next instruction waits for, a divide and a branch (taken or not) in the middle of their ranges
_WEIGHTS: dict[str, dict[str, float]] = {
    "cortex-m3": {"load": 2, "store": 1, "multiply": 2, "divide": 7, "branch": 2, "other": 1},
    "cortex-m4": {"load": 2, "store": 1, "multiply": 1, "divide": 7, "branch": 2, "other": 1},
    "cortex-m33": {"load": 2, "store": 1, "multiply": 1, "divide": 7, "branch": 2, "other": 1},
}


@dataclass(frozen=True)
class Estimate:
    """`by_class` counts the instructions of one inference; `cycles` are their weighted sum."""

    clock_hz: float
    weights: dict[str, float]
    by_class: dict[str, int]
    cycles: float
    ms: float
    note: str = "estimated from a clock and cycles a class of instructions, not measured"


def estimate(
    table: ListedTable, architecture: Architecture, *, clock_hz: float, weights: Mapping[str, float] | None = None
) -> Estimate:
    """Count the network's instructions by class on the core of `table`, and weigh them.

    Raises `UserError` for a table of something else, a class that is none, and a core without published timings if no
    weights of every class are given.
    """
    if not can_recount(table):
        raise UserError("goes with a table of instructions that were counted", key="--clock", value=table.device)
    if not clock_hz > 0:
        raise UserError("must be positive", key="--clock", value=clock_hz)
    for name in weights or {}:
        if name not in CLASSES:
            raise unknown_name("class of instructions", name, CLASSES, key="--weights")
    known = {**_WEIGHTS.get(table.device, {}), **(weights or {})}
    if missing := [name for name in CLASSES if name not in known]:
        hint = "Give cycles of each: --weights load=1,store=1,multiply=1,divide=5,branch=2,other=0.6"
        message = f"nothing is published of how many cycles a {table.device} takes for: {', '.join(missing)}"
        raise UserError(message, key="--weights", hint=hint)
    compiler = "zig" if table.provenance["compiler"].startswith("zig") else "gcc"
    program = network_program(table.measured_space(), architecture, plan=plan_of(table))
    by_class = emulate(program, build_firmware(get_core(table.device), compiler)).by_class
    cycles = float(sum(known[name] * count for name, count in by_class.items()))
    return Estimate(clock_hz, {name: float(known[name]) for name in CLASSES}, by_class, cycles, 1e3 * cycles / clock_hz)
