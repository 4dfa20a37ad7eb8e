"""The costs a search can limit: exact ones of the space, and latencies from the tables of devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError
from search_spaces.costs import align

if TYPE_CHECKING:
    from latency_tables.table import LatencyTable, Table
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable

EXACT = ("macs", "params", "peak_memory", "flash")


def all_costs(
    space: SearchSpace, tables: Mapping[str, Table], *, dtype: str = "float32", plan: str = "naive"
) -> dict[str, CostTable]:
    """Exact costs by metric, and `latency@DEVICE` for every table; `UserError` for a table of another space.

    `dtype` and memory `plan` are those of `SearchSpace.cost`.
    The slots of all of them read the same genes, so that they can be combined slot by slot.
    """
    costs = {metric: space.cost(metric, dtype, plan=plan) for metric in EXACT}
    for device, table in tables.items():
        costs[f"{table.metric}@{device}"] = table.cost(space)
    return dict(zip(costs, align(list(costs.values())), strict=True))


def run_tables(run: Path, devices: Iterable[str]) -> dict[str, LatencyTable]:
    """Those of a run's devices that have been measured, by name. `UserError` for a published table: the winners of a
    run are measured again, and that table's device is elsewhere.
    """
    from latency_tables.published import NOTE
    from latency_tables.table import LatencyTable, load_table

    tables = {}
    for device in devices:
        path = run / "tables" / f"{device}.json"
        if not path.exists():
            continue
        table = load_table(path)
        if not isinstance(table, LatencyTable):
            hint = f"Search with it alone: ofa search --accuracy {run / 'predictor'} --device {path}"
            raise UserError(f"this table was {NOTE}, and a run needs one of its own device", file=path, hint=hint)
        tables[device] = table
    return tables


def named_tables(paths: Iterable[Path]) -> dict[str, Table]:
    """Tables by the name of their file, `phones/note10.json` is the device `note10`; or by the name of a shipped one.

    A path that exists goes before a shipped device.
    """
    from latency_tables.shipped import find_table
    from latency_tables.table import load_table

    tables: dict[str, Table] = {}
    for path in paths:
        found = find_table(path, key="--device")
        if found.stem in tables:
            raise UserError(
                "two tables have the same file name, which names the device", key="--device", value=str(path)
            )
        tables[found.stem] = load_table(found)
    return tables
