"""Is a table of instruction counts still what the kernels give? Some of it is counted again; what a board's table says
of memory is planned again for all operators.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latency_tables.cortex_m import footprint
from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.cores import CORES, get_core
from latency_tables.cortex_m.counting import Counter, network_program, operator_program
from latency_tables.listed import ListedTable
from search_spaces import Architecture

NUM_OPERATORS, NUM_NETWORKS = 24, 3


@dataclass(frozen=True)
class Recount:
    """`changed`: (key of an operator, or of a network that was checked; count of the table; count now)."""

    num_operators: int
    num_networks: int
    changed: list[tuple[str, float, int]]
    made_otherwise: dict[str, tuple[str, str]]
    """What decides the numbers and is another now: {"compiler": (there, here)}."""


def can_recount(table: ListedTable) -> bool:
    return table.device in CORES and "machine_code" in table.provenance


def plan_of(table: ListedTable) -> str:
    """The memory plan that was counted."""
    return table.provenance.get("memory_plan", "overwriting")


def recount(table: ListedTable, *, seed: int = 0) -> Recount:
    """Count operators of every size and some whole networks of `table` again, with its compiler.

    Raises `UserError` if that is not here.
    """
    firmware = build_firmware(
        get_core(table.device), "zig" if table.provenance["compiler"].startswith("zig") else "gcc"
    )
    counter, space, plan = Counter(firmware), table.measured_space(), plan_of(table)
    operators, rng = space.operators(), np.random.default_rng((seed, 3))
    by_size = sorted(operators, key=lambda key: (table.entries[key], key))
    parts = np.array_split(np.arange(len(by_size)), min(NUM_OPERATORS, len(by_size)))
    keys = [by_size[int(rng.choice(part))] for part in parts]
    found = [(key, table.entries[key], counter.total(operator_program(operators[key], plan=plan))) for key in keys]
    networks = [] if table.checked is None else table.checked.networks
    for number in rng.permutation(len(networks))[:NUM_NETWORKS]:
        architecture = Architecture.from_json(networks[number].architecture)
        now = counter.whole(network_program(space, architecture, plan=plan))
        found.append((f"network {architecture.key}", networks[number].observed, now))
    made = firmware.provenance
    return Recount(
        num_operators=len(keys),
        num_networks=len(found) - len(keys),
        changed=[entry for entry in found if entry[1] != entry[2]],
        made_otherwise={
            key: (then, made[key]) for key, then in table.provenance.items() if made.get(key, then) != then
        },
    )


def recount_board(table: BoardTable, *, seed: int = 0) -> Recount:
    """As `recount`; and peak memory and flash of every operator."""
    found = recount(table.of_core(), seed=seed)
    changed = list(found.changed)
    for key, operator in table.measured_space().operators().items():
        program, costs = operator_program(operator, plan=table.memory_plan), table.entries[key]
        for cost, then, now in (
            ("peak memory", costs.peak_memory, footprint.peak_memory(program)),
            ("flash", costs.flash, footprint.flash(program)),
        ):
            if then != now:
                changed.append((f"{cost} of {key}", then, now))
    return replace(found, changed=changed)
