"""Does a table still tell the truth here? Its held-out networks are measured again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latency_tables.measure import measure_networks, this_device
from latency_tables.table import HeldOut, LatencyTable, grade
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network


@dataclass(frozen=True)
class Validation:
    """`drift`: how much longer the same networks take now (median of the ratios, 0.1 is 10 % slower); `now`: the
    table's predictions against these measurements; `stored`: what the table claims."""

    drift: float
    now: HeldOut
    stored: HeldOut


def validate_table(
    table: LatencyTable, *, file: Path | None = None, rounds: int | None = None, seed: int = 0
) -> Validation:
    """Measure the held-out networks of `table` again. Raises `UserError` on another device than the table's."""
    _, here = this_device(table.settings)
    if here != table.device:
        raise UserError(
            f"this table is of another device: {'; '.join(here.differences(table.device))}",
            file=file,
            key="device",
            hint="Validate it there, or measure a table of this device with `ofa measure`",
        )
    space = table.measured_space(file=file)
    pairs = table.heldout.pairs
    architectures = [Architecture.from_json(pair.architecture, file=file) for pair in pairs]
    population = space.encode(architectures, file=file)
    modules = [build_network(space, architecture) for architecture in architectures]
    shapes = [(space.in_channels, network.resolution, network.resolution) for network in architectures]
    measured = measure_networks(modules, shapes, table.settings, rounds=rounds, seed=seed)
    now_ms = np.array([measurement.median_ms for measurement in measured])
    then_ms = np.array([pair.measured_ms for pair in pairs])
    return Validation(
        drift=float(np.median(now_ms / then_ms) - 1),
        now=grade(architectures, table.cost(space).evaluate(population), now_ms),
        stored=table.heldout,
    )
