"""Is a table of instruction counts still what the kernels give? Some of it is counted again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


def recount(table: ListedTable, *, seed: int = 0) -> Recount:
    """Count operators of every size and some whole networks of `table` again, with its compiler.

    Raises `UserError` if that is not here.
    """
    firmware = build_firmware(
        get_core(table.device), "zig" if table.provenance["compiler"].startswith("zig") else "gcc"
    )
    counter, space = Counter(firmware), table.measured_space()
    operators, rng = space.operators(), np.random.default_rng((seed, 3))
    by_size = sorted(operators, key=lambda key: (table.entries[key], key))
    parts = np.array_split(np.arange(len(by_size)), min(NUM_OPERATORS, len(by_size)))
    keys = [by_size[int(rng.choice(part))] for part in parts]
    found = [(key, table.entries[key], counter.total(operator_program(operators[key]))) for key in keys]
    networks = [] if table.checked is None else table.checked.networks
    for number in rng.permutation(len(networks))[:NUM_NETWORKS]:
        architecture = Architecture.from_json(networks[number].architecture)
        now = counter.whole(network_program(space, architecture))
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
