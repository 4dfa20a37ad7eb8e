"""Which costs of different runs are the same thing: exact ones always are, those of devices where the devices are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.table import LatencyTable, Table
from ofa.report.compare.runs import Run
from search_spaces.common.files import digest
from search_spaces.costs import CostTable

_EXACT = {"macs": "MACs", "params": "parameters"}


@dataclass(frozen=True)
class SharedCost:
    """A cost that one run or several have. `name` is unique; `own`: by the number of a run, its own name for it."""

    name: str
    title: str
    metric: str
    unit: str
    own: dict[int, str]
    device: dict[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        shared = {"name": self.name, "title": self.title, "metric": self.metric, "unit": self.unit}
        return {**shared, "device": self.device, "runs": sorted(self.own), "overlaid": len(self.own) > 1}


@dataclass(frozen=True)
class _Own:
    """A cost as one run has it; equal identities are the same device, runtime and all."""

    name: str
    metric: str
    unit: str
    device: str | None
    identity: str
    facts: dict[str, Any] | None


def shared_costs(runs: Sequence[Run]) -> list[SharedCost]:
    """Costs that several runs have first, those of devices before exact ones."""
    groups: dict[str, list[tuple[int, _Own]]] = {}
    for number, run in enumerate(runs):
        seen: Counter[str] = Counter()
        for own in _costs_of(run):
            seen[own.identity] += 1  # a run may have a device twice, under two names
            groups.setdefault(f"{own.identity}-{seen[own.identity]}", []).append((number, own))
    shared: list[SharedCost] = []
    for members in groups.values():
        first = members[0][1]
        name = _unused(first.name, {cost.name for cost in shared})
        devices = " = ".join(dict.fromkeys(own.device for _, own in members if own.device is not None))
        title = f"{first.metric.replace('_', ' ')} on {devices}" if devices else _EXACT.get(first.metric, first.metric)
        own_names = {number: own.name for number, own in members}
        shared.append(SharedCost(name, title, first.metric, first.unit, own_names, first.facts))
    return sorted(shared, key=lambda cost: (len(cost.own) < 2, cost.device is None))


def cost_table(run: Run, own: str) -> CostTable | None:
    """The table behind a run's own name for a cost; None while its supernet, and with it the space, is not known."""
    space = run.found.space
    if space is None:
        return None
    metric, _, device = own.partition("@")
    if not device:
        return space.cost(metric)
    return _tables(run)[own].cost(space)


def device_differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """What keeps two devices apart, `key: one / other`."""
    keys = dict.fromkeys([*first, *second])
    return [f"{key}: {first.get(key)} / {second.get(key)}" for key in keys if first.get(key) != second.get(key)]


def _costs_of(run: Run) -> list[_Own]:
    found = []
    for name, table in _tables(run).items():
        facts = _device_facts(run, name, table)
        metric, _, device = name.partition("@")
        found.append(_Own(name, metric, table.unit, device, digest([metric, facts]), facts))
    for metric in _EXACT:
        found.append(_Own(metric, metric, "MACs" if metric == "macs" else "", None, metric, None))
    return found


def _tables(run: Run) -> dict[str, Table]:
    """Of devices and boards, by `metric@device`."""
    tables = {f"{table.metric}@{device}": table for device, table in run.found.tables.items()}
    for device, board in run.found.boards.items():
        tables |= {f"{one.metric}@{device}": one for one in board.tables()}
    return tables


def _device_facts(run: Run, name: str, table: Table) -> dict[str, Any]:
    """What must be equal for two tables to be of one device: all that decides what is measured or counted there."""
    if isinstance(table, LatencyTable):
        return table.device.model_dump(mode="json")
    board: BoardTable | None = run.found.boards.get(name.partition("@")[2])
    if board is None:
        return {key: table.origin.get(key) for key in ("device", "source", "provenance")}
    plan = {"memory plan": board.memory_plan} if table.metric == "peak_memory" else {}
    return {"board": board.board.name, **plan, **board.provenance}


def _unused(name: str, used: set[str]) -> str:
    return name if name not in used else next(f"{name} #{i}" for i in range(2, 1000) if f"{name} #{i}" not in used)
