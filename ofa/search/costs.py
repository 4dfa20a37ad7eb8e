"""The costs a search can limit: exact ones of the space, and those that tables of devices tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError
from search_spaces.costs import align

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from latency_tables.table import LatencyTable, Table
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable

EXACT = ("macs", "params", "peak_memory", "flash")


def all_costs(
    space: SearchSpace, tables: Mapping[str, Table], *, dtype: str = "float32", plan: str = "naive"
) -> dict[str, CostTable]:
    """Exact costs by metric, and one (`latency@DEVICE`, `energy@DEVICE`) for every table, by the names that
    `named_tables` gives; `UserError` for a table of another space.

    Where tables tell what networks take of a board's memory, that takes the place of the space's own estimate; `dtype`
    and memory `plan` are those of `SearchSpace.cost`. The slots of all of them read the same genes, so that they can be
    combined slot by slot.
    """
    told = {table.metric for table in tables.values()}
    costs = {metric: space.cost(metric, dtype, plan=plan) for metric in EXACT if metric not in told}
    for name, table in tables.items():
        costs[cost_of(name, table)] = table.cost(space)
    return dict(zip(costs, align(list(costs.values())), strict=True))


def run_tables(run: Path, devices: Iterable[str]) -> dict[str, LatencyTable | ListedTable]:
    """Those of a run's devices that have been measured, by name; of a board three, by the costs they tell. `UserError`
    for a table that was published or given: the winners of a run are measured again, and that table's device is
    elsewhere.
    """
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from latency_tables.table import LatencyTable, load_any_table

    tables: dict[str, LatencyTable | ListedTable] = {}
    for device in devices:
        path = run / "tables" / f"{device}.json"
        if not path.exists():
            continue
        table = load_any_table(path)
        if isinstance(table, BoardTable):
            tables |= {f"{one.metric}@{device}": one for one in table.tables(device=device)}
            continue
        if not isinstance(table, LatencyTable):
            hint = f"Search with it alone: ofa search --accuracy {run / 'predictor'} --device {path}"
            how = f"holds given numbers ({table.note})" if isinstance(table, ListedTable) else f"was {table.note}"
            raise UserError(f"this table {how}, and a run needs one of its own device", file=path, hint=hint)
        tables[device] = table
    return tables


def named_tables(paths: Iterable[Path]) -> dict[str, Table]:
    """Tables by the name of their device, or, where a device has tables of several metrics, of their cost:
    `latency@phone` and `energy@phone`.

    The table of a board is three of them. A table of given numbers says which device it is of; the name of any other
    table's file is its device: `phones/note10.json` is the device `note10`, and its column beside two busy processes
    `note10+2`. A path that exists goes before a shipped device's name. Raises `UserError` for two tables of one metric
    of one device.
    """
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from latency_tables.shipped import find_table
    from latency_tables.table import LatencyTable, load_any_table

    found: dict[tuple[str, str], tuple[Path, Table]] = {}

    def add(table: Table, file: Path, path: Path) -> None:
        place = (table.device if isinstance(table, ListedTable) else file.stem, table.metric)
        if place in found:
            device, metric = place
            what = "two tables have the same file name, which names the device"
            if any(isinstance(other, ListedTable) for other in (table, found[place][1])):
                what = f"two tables of the {metric} of {device!r}, the other is {found[place][0]}"
            raise UserError(what, key="--device", value=str(path))
        found[place] = (file, table)
        if not isinstance(table, LatencyTable):
            return
        for number in (column.device.contention for column in table.contended):
            busy = (f"{place[0]}+{number}", table.metric)
            if busy in found:
                raise UserError(f"two tables are of {busy[0]!r}", key="--device", value=str(path))
            found[busy] = (file, table.column(number))

    for path in paths:
        file = find_table(path, key="--device")
        loaded = load_any_table(file)
        for table in loaded.tables() if isinstance(loaded, BoardTable) else (loaded,):
            add(table, file, path)
    devices = [device for device, _ in found]
    return {
        device if devices.count(device) == 1 else f"{metric}@{device}": table
        for (device, metric), (_, table) in found.items()
    }


def cost_of(name: str, table: Table) -> str:
    """The cost that a table tells (`energy@phone`), by its name among `named_tables`."""
    return name if name.startswith(f"{table.metric}@") else f"{table.metric}@{name}"


def capacities(tables: Mapping[str, Table]) -> dict[str, float]:
    """What devices have of a cost (`flash@stm32f746`), where their tables, by the names of `named_tables`, tell it."""
    from latency_tables.listed import ListedTable

    return {
        cost_of(name, table): table.capacity
        for name, table in tables.items()
        if isinstance(table, ListedTable) and table.capacity is not None
    }
