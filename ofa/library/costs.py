"""Costs and limits as a program gives them: by name, as tables or cost tables, with units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from ofa.search.budgets import DEVICE_METRICS, ResolvedBudget, metric_of, parse_budget, resolve
from ofa.search.costs import all_costs
from search_spaces.common.errors import UserError
from search_spaces.costs import CostTable, align

if TYPE_CHECKING:
    from latency_tables.table import Table
    from search_spaces import SearchSpace

#: what a network costs: `space.cost("macs")`, or the table of a device
Cost: TypeAlias = "CostTable | Table"

#: stands for the device of a cost that names none
_DEVICE = "device"


@dataclass(frozen=True)
class KnownCosts:
    """All costs of a search by full name (`latency@phone`), and what the caller calls them (`latency`)."""

    tables: dict[str, CostTable]
    called: dict[str, str]

    @staticmethod
    def of(space: SearchSpace, costs: Mapping[str, Cost]) -> KnownCosts:
        """The exact costs of the space, and `costs`: names are metrics, `latency` or `latency@phone`."""
        tables, called = dict(all_costs(space, {})), {}
        for name, cost in costs.items():
            table = cost if isinstance(cost, CostTable) else cost.cost(space)
            if metric_of(name) != table.metric:
                hint = f"Call it {table.metric} or {table.metric}@DEVICE"
                raise UserError(f"is a cost in {table.metric}", key="costs", value=name, hint=hint)
            full = name if "@" in name or name not in DEVICE_METRICS else f"{name}@{_DEVICE}"
            if full in tables and name in DEVICE_METRICS:
                raise UserError("is there twice", key="costs", value=name)
            tables[full], called[full] = table, name
        aligned = dict(zip(tables, align(list(tables.values())), strict=True))
        return KnownCosts(aligned, called)

    def budget(self, limits: Mapping[str, str | int | float]) -> ResolvedBudget:
        """`{"latency": "2ms", "macs": "30%"}` in base units; without limits, one that all networks keep."""
        if not limits:
            return ResolvedBudget("limits", {"macs": self.tables["macs"].maximum()[0]})
        return resolve(replace(parse_budget("limits", limits), key="limits."), self.tables)

    def names(self, costs: Mapping[str, float]) -> dict[str, float]:
        """The same, by the caller's names."""
        return {self.called.get(name, name): value for name, value in costs.items()}
