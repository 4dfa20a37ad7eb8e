"""The costs a search can limit: exact ones of the space, and latencies from the tables of devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable

EXACT = ("macs", "params", "peak_memory", "flash")


def all_costs(
    space: SearchSpace, tables: Mapping[str, LatencyTable], *, dtype: str = "float32"
) -> dict[str, CostTable]:
    """Exact costs by metric, and `latency@DEVICE` for every table; `UserError` for a table of another space."""
    costs = {metric: space.cost(metric, dtype) for metric in EXACT}
    for device, table in tables.items():
        costs[f"{table.metric}@{device}"] = table.cost(space)
    return costs


def run_tables(run: Path, devices: Iterable[str]) -> dict[str, LatencyTable]:
    """Those of a run's devices that have been measured, by name."""
    from latency_tables.table import load_table

    paths = {device: run / "tables" / f"{device}.json" for device in devices}
    return {device: load_table(path) for device, path in paths.items() if path.exists()}


def named_tables(paths: Iterable[Path]) -> dict[str, LatencyTable]:
    """Tables by the name of their file: `--device phones/note10.json` is the device `note10`."""
    from latency_tables.table import load_table

    tables: dict[str, LatencyTable] = {}
    for path in paths:
        if path.stem in tables:
            raise UserError(
                "two tables have the same file name, which names the device", key="--device", value=str(path)
            )
        tables[path.stem] = load_table(path)
    return tables
