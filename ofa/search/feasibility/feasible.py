"""Can any network keep these limits? Answered before any search: exactly where a cost is a sum or a maximum over slots.

One limit: the exact minimum of its cost over the space. Several: limits on maxima (peak memory) strike out what exceeds
them, and the sums that remain are bounded by Lagrange multipliers: for any weights w >= 0 that add up to 1, a feasible
network has sum_i w_i cost_i / limit_i <= 1, and the minimum of that sum over the space is exact. The weights are moved
towards the limits that are exceeded (a multiplicative-weights method, e.g. Plotkin, Shmoys, Tardos, 1995). What this
leaves open is settled by the least that one cost can be within the limits on the others (`least`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.search.algorithms.base import Archive, Scores, drive, violations
from ofa.search.algorithms.evolution import Evolution
from ofa.search.budgets import ResolvedBudget, format_cost
from ofa.search.feasibility.least import Least, least
from search_spaces.common.errors import Infeasible
from search_spaces.costs import combine

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

_STEPS = 40


@dataclass(frozen=True)
class _Bound:
    """Networks met on the way, and a factor above 1 that all limits must grow by at least (0: none was proved)."""

    met: Population
    factor: float


def feasible_networks(
    space: SearchSpace, costs: Mapping[str, CostTable], budget: ResolvedBudget, *, seed: int = 0
) -> Population:
    """Networks (at least one) that keep every limit of `budget`.

    Raises `Infeasible` if there is none, with the smallest achievable value of every cost, the limit that binds and the
    nearest network; or if none was found for limits that clash without a proof, which `details["proven"]` tells.
    """
    limits = budget.limits
    minima = {name: costs[name].minimum() for name in limits}
    impossible = [name for name, (value, _) in minima.items() if value > limits[name]]
    cheapest = np.stack([row for _, row in minima.values()])
    if impossible:
        binding = max(impossible, key=lambda name: minima[name][0] / limits[name])
        raise _alone(space, costs, budget, binding=binding, start=cheapest, seed=seed)
    found = cheapest[violations(costs, limits, cheapest) == 0]
    if len(found):
        return found
    bound = _lagrangian(costs, limits, cheapest)
    found = bound.met[violations(costs, limits, bound.met) == 0]
    if len(found):
        return found
    proven = bound.factor > 1
    if not proven:
        first = next((name for name in limits if costs[name].reduce == "sum"), next(iter(limits)))
        answer = least(costs, first, limits)
        if answer.row is not None and violations(costs, limits, answer.row[None])[0] == 0:
            return answer.row[None]
        proven = answer.value > limits[first] * (1 + 1e-12)
    near = _nearest(space, costs, limits, start=bound.met, seed=seed)
    if not proven and violations(costs, limits, near[None])[0] == 0:
        return near[None]
    raise _together(space, costs, budget, nearest=near, factor=bound.factor, proven=proven)


def _lagrangian(costs: Mapping[str, CostTable], limits: Mapping[str, float], start: Population) -> _Bound:
    """Bound the joint minimum of the sums, within what the limits on maxima leave."""
    sums = [name for name in limits if costs[name].reduce == "sum"]
    caps = {name: limits[name] for name in limits if costs[name].reduce == "max"}
    tables = [_capped(costs[name], {cap: costs[cap] for cap in caps}, caps) for name in sums]
    if not tables:
        return _Bound(start, 0.0)
    met, factor, weights = [start], 0.0, np.full(len(sums), 1.0 / len(sums))
    scale = np.array([limits[name] for name in sums])
    for step in range(_STEPS):
        value, row = combine(tables, list(weights / scale), metric=sums[0]).minimum()
        factor = max(factor, value)
        if not np.isfinite(value):
            break  # the limits on maxima alone leave nothing
        met.append(row[None])
        ratios = np.array([costs[name].evaluate(row[None])[0] for name in sums]) / scale
        if (ratios <= 1).all() or factor > 1 + 1e-9:
            break
        weights = weights * np.exp((ratios - 1) / (0.1 * np.sqrt(step + 1) * max(1.0, float(np.abs(ratios - 1).max()))))
        weights = np.maximum(weights / weights.sum(), 1e-9)
    return _Bound(np.concatenate(met), factor if factor > 1 + 1e-9 else 0.0)


def _capped(table: CostTable, maxima: Mapping[str, CostTable], caps: Mapping[str, float]) -> CostTable:
    """`table` with an infinite cost wherever a slot exceeds a cap: its finite networks are those that keep the caps."""
    tables = list(table.tables)
    constant = table.constant
    for name, cap in caps.items():
        assert maxima[name].genes == table.genes, "costs of one space have the same slots"
        tables = [np.where(m > cap, np.inf, t) for t, m in zip(tables, maxima[name].tables, strict=True)]
        constant = np.inf if maxima[name].constant > cap else constant
    return replace(table, tables=tuple(tables), constant=constant)


def _nearest(
    space: SearchSpace, costs: Mapping[str, CostTable], limits: Mapping[str, float], *, start: Population, seed: int
) -> Population:
    """The row whose worst ratio of cost to limit is least, as far as a short evolution finds it."""

    def score(population: Population) -> Scores:
        ratios = np.stack([costs[name].evaluate(population) / limit for name, limit in limits.items()])
        return Scores(-ratios.max(axis=0), np.zeros(len(population)))

    archive = Archive(space.num_genes, 1)
    drive(Evolution(space, population=64, generations=60, patience=12, seed=seed, start=start), score, archive)
    return archive.population[0]


def _alone(
    space: SearchSpace,
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    *,
    binding: str,
    start: Population,
    seed: int,
) -> Infeasible:
    """The error for a limit below the exact minimum of its own cost."""
    value, row = costs[binding].minimum()
    if len(budget.limits) > 1:
        row = _nearest(space, costs, budget.limits, start=start, seed=seed)
    message = (
        f"budget {budget.name!r}: no network of {space.name} keeps {binding} <= "
        f"{format_cost(budget.limits[binding], binding)}; the smallest achievable is {format_cost(value, binding)}"
    )
    if (slot := _peak_slot(costs[binding], costs[binding].minimum()[1])) is not None:
        message += f", which {slot} takes"
    return _error(space, costs, budget, message, nearest=row, binding=binding, proven=True)


def _together(
    space: SearchSpace,
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    *,
    nearest: Population,
    factor: float,
    proven: bool,
) -> Infeasible:
    """The error for limits that can each be kept, but not all at once."""
    ratios = {name: float(costs[name].evaluate(nearest[None])[0]) / limit for name, limit in budget.limits.items()}
    binding = max(ratios, key=lambda name: ratios[name])
    if factor > 1:
        need = f"would all have to grow by more than {100 * (factor - 1):.2g} %" if np.isfinite(factor) else "clash"
        verdict = f"no network of {space.name} keeps {budget.text()} together: the limits {need}"
    elif proven:
        verdict = f"no network of {space.name} keeps {budget.text()} together (each alone is possible)"
    else:
        verdict = f"no network of {space.name} was found that keeps {budget.text()} together (each alone is possible)"
    alone = ", ".join(f"{name} {format_cost(costs[name].minimum()[0], name)}" for name in budget.limits)
    verdict += f"; {binding} binds most; the smallest achievable, each alone, are {alone}"
    return _error(
        space, costs, budget, f"budget {budget.name!r}: {verdict}", nearest=nearest, binding=binding, proven=proven
    )


def _error(
    space: SearchSpace,
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    message: str,
    *,
    nearest: Population,
    binding: str,
    proven: bool,
) -> Infeasible:
    architecture = space.decode(nearest[None])[0]
    reached = {name: float(costs[name].evaluate(nearest[None])[0]) for name in budget.limits}
    listed = ", ".join(f"{name} {format_cost(value, name)}" for name, value in reached.items())
    within = {name: least(costs, name, budget.limits) for name in budget.limits} if len(budget.limits) > 1 else {}
    details: dict[str, Any] = {
        "budget": budget.name,
        "limits": dict(budget.limits),
        "smallest": {name: costs[name].minimum()[0] for name in budget.limits},
        "least_within_the_others": {name: _least_facts(found) for name, found in within.items()},
        "binding": binding,
        "proven": proven,
        "peak_slots": {n: slot for n in budget.limits if (slot := _peak_slot(costs[n], nearest)) is not None},
        "nearest": {"key": architecture.key, "architecture": architecture.to_json(), "costs": reached},
    }
    if told := _told(budget, within, binding):
        message += f". {told}"
    return Infeasible(f"{message}. Nearest network {architecture.key}: {listed}", details=details)


def _peak_slot(table: CostTable, row: Population) -> str | None:
    """The slot that decides a cost that is a maximum over slots."""
    if table.reduce != "max":
        return None
    return max(table.explain(row), key=lambda part: part[1])[0]


def _least_facts(found: Least) -> dict[str, Any]:
    """JSON has no infinity: `value` is None where the other limits leave no network."""
    return {"value": found.value if np.isfinite(found.value) else None, "exact": found.exact}


def _told(budget: ResolvedBudget, within: Mapping[str, Least], binding: str) -> str:
    """`With latency@a <= 5 ms, the least flash is 1.2 MiB`: of the limit that binds; else of one that can be told."""
    for name in sorted(within, key=lambda name: name != binding):
        if np.isfinite(within[name].value):
            others = replace(budget, limits={n: limit for n, limit in budget.limits.items() if n != name})
            return f"With {others.text()}, {within[name].text()}"
    return "Even with one of the limits left out, whichever, no network is left" if within else ""
