"""`--confidence`: limits that hold for the network itself and not only for its prediction.

A table knows how far it was off on whole networks, so a limit on the true cost becomes a tighter one on the predicted
cost (`latency_tables.conformal`). Where the device is this machine, networks that may be on either side of the limit
are measured instead of given up; where it is an NPU whose compiler is here, the compiler is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

from latency_tables.conformal import Interval, interval, upper_factor
from latency_tables.samples import Answer
from ofa.console import note
from ofa.search.budgets import ResolvedBudget, format_cost
from ofa.search.run import Ranked, search
from search_spaces.common.errors import Infeasible, UserError, in_file

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from latency_tables.samples import Measurement
    from latency_tables.table import LatencyTable, Table
    from ofa.search.settings import SearchSettings
    from predictors.base import Predict
    from search_spaces import Architecture, SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population


@dataclass(frozen=True)
class Bounds:
    """By the limited costs that have an error: the one-sided factor, and the interval, of measured / predicted."""

    confidence: float
    upper: dict[str, float]
    intervals: dict[str, Interval]

    @staticmethod
    def of(budget: ResolvedBudget, tables: Mapping[str, Table], confidence: float) -> Bounds:
        """`tables` by the cost they tell. Raises `UserError` where a limited cost has no error to go by, or one of too
        few networks.
        """
        upper, intervals = {}, {}
        for name in budget.limits:
            if name not in tables:
                continue  # counted exactly
            predicted, measured = tables[name].graded
            if not predicted:
                raise UserError(
                    f"nothing is known of the error of the table that tells {name}, so no confidence can be had in it",
                    key="--confidence",
                    value=confidence,
                    hint="Leave --confidence out, or measure a table with `ofa measure`",
                )
            with in_file(f"the table that tells {name}"):
                upper[name] = upper_factor(predicted, measured, confidence)
                intervals[name] = interval(predicted, measured, confidence)
        return Bounds(confidence, upper, intervals)

    def sure(self, budget: ResolvedBudget) -> ResolvedBudget:
        """Limits on predicted costs that keep the budget's own with the wanted confidence."""
        return replace(budget, limits={n: limit / self.upper.get(n, 1.0) for n, limit in budget.limits.items()})

    def possible(self, budget: ResolvedBudget, here: Sequence[str]) -> ResolvedBudget:
        """As `sure`, but costs of `here` may be measured: networks count whose interval begins below the limit."""
        sure = self.sure(budget).limits
        low = {name: max(self.intervals[name].low, 1e-9) for name in here}
        wide = {n: max(limit / low[n], sure[n]) if n in low else sure[n] for n, limit in budget.limits.items()}
        return replace(budget, limits=wide)

    def explain(self, error: Infeasible, budget: ResolvedBudget, searched: ResolvedBudget) -> Infeasible:
        """The same, saying how the limits that were searched come from those of the budget."""
        asked = ", ".join(
            f"{name} <= {format_cost(limit, name)} admits predictions of at most "
            f"{format_cost(searched.limits[name], name)}"
            for name, limit in budget.limits.items()
            if name in self.upper
        )
        told = f"{error.message}. With {self.confidence:.4g} confidence, {asked}" if asked else error.message
        return Infeasible(told, details=error.details)


#: A table whose networks can be measured here, or asked about.
AtHand = Union["LatencyTable", "ListedTable"]


def tables_here(tables: Mapping[str, Table]) -> dict[str, AtHand]:
    """Those of the tables (by the cost they tell) that were measured on this machine, or whose compiler is here."""
    from latency_tables.listed import ListedTable
    from latency_tables.measure import this_device
    from latency_tables.table import LatencyTable

    found: dict[str, AtHand] = {}
    for name, table in tables.items():
        if isinstance(table, ListedTable) and table.metric == "cycles":
            from latency_tables.ethos_u.table import can_ask

            if can_ask(table):
                found[name] = table
            continue
        if not isinstance(table, LatencyTable):
            continue
        try:
            _, here = this_device(table.settings)
        except UserError:
            continue  # fewer cores, or the runtime is not installed
        if here == table.device:
            found[name] = table
    return found


def search_with_confidence(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    settings: SearchSettings,
    bounds: Bounds,
    here: Mapping[str, AtHand],
    *,
    seed: int,
) -> tuple[Ranked, Kept]:
    """Candidates that keep `budget` with confidence: those predicted to, and those measured to where that is possible.

    Where all measured ones are over, and none is predicted to be surely within, the limits on predictions are lowered
    until one is within or the cheapest network was measured too.
    """
    sure = bounds.sure(budget)
    wide = bounds.possible(budget, list(here))
    parts: list[Ranked] = []
    for part in (sure, wide) if here else (sure,):
        try:
            parts.append(search(space, predict, costs, [part], settings, seed=seed)[budget.name])
        except Infeasible as error:
            if part is wide or not here:
                raise bounds.explain(error, budget, part) from None
    rejected = 0
    for step in range(1, _MOST_STEPS + 1):
        ranked = _together(parts, budget, predict, costs)
        kept = _keep_confident(space, ranked.population, ranked.costs, budget, bounds, here)
        rejected += kept.num_rejected
        if len(kept.rows):
            return ranked, replace(kept, rows=kept.rows[: settings.candidates], num_rejected=rejected)
        lower = dict(wide.limits)
        for name in here:
            floor = costs[name].minimum()[0] * (1 + 1e-9)
            lower[name] = floor + (wide.limits[name] - floor) * (1 - step / _MOST_STEPS)
        try:
            parts = [search(space, predict, costs, [replace(wide, limits=lower)], settings, seed=seed)[budget.name]]
        except Infeasible:  # two limits that clash once one is lowered
            break
    raise Infeasible(
        f"budget {budget.name!r}: all {rejected} networks that may keep {budget.text()} were measured, and exceed it",
        details={
            "budget": budget.name,
            "limits": budget.limits,
            "smallest": {name: costs[name].minimum()[0] for name in budget.limits},
            "proven": False,
        },
    )


#: how often the limits on predictions are lowered, the last time to the cheapest network
_MOST_STEPS = 6


def _together(
    parts: Sequence[Ranked], budget: ResolvedBudget, predict: Predict, costs: Mapping[str, CostTable]
) -> Ranked:
    """The distinct networks of several searches, best predicted accuracy first."""
    rows = np.unique(np.concatenate([part.population for part in parts]), axis=0)
    rows = rows[np.argsort(-predict(rows).mean, kind="stable")]
    return replace(
        parts[-1],
        budget=budget,
        population=rows,
        prediction=predict(rows),
        costs={name: table.evaluate(rows) for name, table in costs.items()},
        num_scored=sum(part.num_scored for part in parts),
    )


@dataclass(frozen=True)
class Kept:
    """The networks that keep a budget with confidence, best first as they were given; and what was measured of them.

    `num_rejected` were measured and found to be over it.
    """

    rows: NDArray[np.int64]
    measured: dict[int, dict[str, Measurement | Answer]]
    num_rejected: int


def _keep_confident(
    space: SearchSpace,
    population: Population,
    costs: Mapping[str, NDArray[np.float64]],
    budget: ResolvedBudget,
    bounds: Bounds,
    here: Mapping[str, AtHand],
) -> Kept:
    """Measure those of `population` whose interval holds a limit of a cost told by a table of this machine, and leave
    out those that are over it. `costs` are the predicted ones, (num,) each; `measured` of the result goes by the
    number of a network in `population`.
    """
    sure = bounds.sure(budget).limits
    measured: dict[int, dict[str, Measurement | Answer]] = {}
    kept = np.ones(len(population), dtype=bool)
    for name, table in here.items():
        doubtful = [int(i) for i in np.flatnonzero(kept & (costs[name] > sure[name]))]
        if not doubtful:
            continue
        note(f"measuring {len(doubtful)} networks whose {name} may be on either side of the limit")
        found = _measure(space, space.decode(population[doubtful]), table)
        for index, measurement in zip(doubtful, found, strict=True):
            measured.setdefault(index, {})[name] = measurement
            kept[index] = measurement.value <= budget.limits[name]
    return Kept(np.flatnonzero(kept), measured, int((~kept).sum()))


def _measure(
    space: SearchSpace, architectures: Sequence[Architecture], table: AtHand
) -> Sequence[Measurement | Answer]:
    """Whole networks, timed the way the table was, or as the compiler says."""
    from latency_tables.listed import ListedTable
    from latency_tables.measure import measure_architectures

    if isinstance(table, ListedTable):
        from latency_tables.ethos_u.table import ask

        return [Answer(cycles) for cycles in ask(table, space, architectures)]
    return measure_architectures(space, architectures, table.settings)
