"""From candidates to winners: measured on the device, evaluated for real, and only then named.

One pool of finalists serves all budgets. A finalist is admitted to a budget if it keeps every limit, by measurement
where the device is here, by its exact or tabulated cost elsewhere; the winner is the admitted one of the highest
accuracy on the selection split: in int8, computed as the device will, where the budget is that of a board. So whoever
wins a smaller budget is a candidate for every larger one, and selection accuracies do not fall as budgets grow. If the
device rejects all candidates of a budget, it is searched again with its limits tightened by the ratio of measured to
predicted that was seen, until one fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.search.budgets import ResolvedBudget, ascending, device_of, format_cost
from ofa.search.measurements import MeasurementBook, Median
from ofa.search.run import Ranked
from search_spaces.common.errors import Infeasible
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from predictors.base import Predict
    from search_spaces import Architecture, SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

#: Searches one budget again with other limits.
SearchAgain = Callable[[ResolvedBudget], Ranked]

#: Each new round asks for at least this much less than the one before.
_STEP = 0.97


@dataclass(frozen=True)
class Finalist:
    """A network that was tried: what was predicted, what was measured, what it scored."""

    architecture: Architecture
    row: Population  # (num_genes,)
    predicted_accuracy: dict[str, float]  # mean; lower and upper where an interval is known
    predicted_costs: dict[str, float]
    measured: dict[str, Median]  # by the name of the cost
    selection_accuracy: float | None = None  # None: rejected by every budget before it was worth evaluating
    int8_accuracy: float | None = None  # the same split in int8; None: no budget of a board admits it

    def cost(self, name: str) -> float:
        """The measured cost where there is one, else the predicted."""
        return self.measured[name].median_ms if name in self.measured else self.predicted_costs[name]

    def exceeded(self, limits: Mapping[str, float]) -> dict[str, float]:
        """The limits it does not keep, with the cost that says so."""
        return {name: self.cost(name) for name, limit in limits.items() if self.cost(name) > limit}


@dataclass(frozen=True)
class Int8:
    """`evaluate` gives the accuracy in int8 on the selection split, which names the winners on `boards`."""

    evaluate: Callable[[Architecture], float]
    boards: frozenset[str]

    def judges(self, limits: Mapping[str, float]) -> bool:
        """Whether these are limits of a board."""
        return any(device_of(name) in self.boards for name in limits)


@dataclass(frozen=True)
class Winner:
    """The outcome of one budget. `candidates` are the keys proposed for it, by round and predicted accuracy."""

    budget: ResolvedBudget
    winner: Finalist
    candidates: tuple[str, ...]
    rounds: int
    chosen_by: str = "selection_accuracy"
    """Or `int8_accuracy`."""


@dataclass(frozen=True)
class Outcome:
    """Winners from the smallest budget upwards, and every network that was tried, by key."""

    winners: tuple[Winner, ...]
    finalists: dict[str, Finalist]


@dataclass
class _Pool:
    """Finalists so far, and how to try more."""

    space: SearchSpace
    predict: Predict
    costs: Mapping[str, CostTable]
    books: Mapping[str, MeasurementBook]
    evaluate: Callable[[Architecture], float]
    limits: tuple[Mapping[str, float], ...]
    int8: Int8 | None
    finalists: dict[str, Finalist] = field(default_factory=dict)

    def try_all(self, population: Population, *, quiet: bool) -> list[str]:
        """Measure all that are new in one set, then evaluate those that some budget admits; keys of `population`."""
        architectures = self.space.decode(population) if len(population) else []
        first = {architecture.key: i for i, architecture in reversed(list(enumerate(architectures)))}
        new = sorted(i for key, i in first.items() if key not in self.finalists)
        medians = {name: book.medians([architectures[i] for i in new]) for name, book in self.books.items()}
        rows = population[new]
        prediction = self.predict(rows)
        costs = {name: table.evaluate(rows) for name, table in self.costs.items()}
        with progress_bar("evaluating candidates", len(new), quiet=quiet) as advance:
            for j, i in enumerate(new):
                key = architectures[i].key
                finalist = Finalist(
                    architecture=architectures[i],
                    row=rows[j],
                    predicted_accuracy=prediction.facts(j),
                    predicted_costs={name: float(values[j]) for name, values in costs.items()},
                    measured={name: found[key] for name, found in medians.items()},
                )
                admitting = [limits for limits in self.limits if not finalist.exceeded(limits)]
                if admitting:
                    finalist = replace(finalist, selection_accuracy=self.evaluate(architectures[i]))
                if self.int8 is not None and any(map(self.int8.judges, admitting)):
                    finalist = replace(finalist, int8_accuracy=self.int8.evaluate(architectures[i]))
                self.finalists[key] = finalist
                advance(1, note=key)
        return [architecture.key for architecture in architectures]

    def best(self, limits: Mapping[str, float]) -> Finalist | None:
        """The admitted finalist of the highest accuracy; of equals the one that leaves most room."""
        in_int8 = self.int8 is not None and self.int8.judges(limits)

        def rank(finalist: Finalist) -> tuple[float, float, str]:
            accuracy = finalist.int8_accuracy if in_int8 else finalist.selection_accuracy
            assert accuracy is not None
            filled = max(finalist.cost(name) / limit for name, limit in limits.items())
            return -accuracy, filled, finalist.architecture.key

        return min((f for f in self.finalists.values() if not f.exceeded(limits)), key=rank, default=None)


def choose_winners(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    ranked: Mapping[str, Ranked],
    *,
    evaluate: Callable[[Architecture], float],
    books: Mapping[str, MeasurementBook],
    again: SearchAgain,
    also: Mapping[str, Population] | None = None,
    int8: Int8 | None = None,
    max_rounds: int = 6,
    quiet: bool = False,
) -> Outcome:
    """A winner for every budget of `ranked`, or `Infeasible` for the first whose cheapest network the device rejects.

    `evaluate` gives the accuracy on the selection split (and keeps the record); `books` measure the costs they are
    named after; `again` searches a budget with other limits, no candidates if there are none; `also` are further
    candidates by budget; `int8` judges the budgets of boards.
    """
    budgets = ascending([entry.budget for entry in ranked.values()], costs)
    pool = _Pool(space, predict, costs, books, evaluate, tuple(budget.limits for budget in budgets), int8)
    extra = also or {}
    proposals = [
        np.concatenate([ranked[b.name].population, *([extra[b.name]] if b.name in extra else [])]) for b in budgets
    ]
    keys = pool.try_all(np.concatenate(proposals), quiet=quiet)  # one interleaved set for all budgets
    proposed: dict[str, list[str]] = {}
    for budget, population in zip(budgets, proposals, strict=True):
        proposed[budget.name], keys = keys[: len(population)], keys[len(population) :]
    rounds = {budget.name: 1 for budget in budgets}
    for budget in budgets:
        tightened, latest = budget, proposed[budget.name]
        while pool.best(budget.limits) is None:
            tightened = _tightened(pool, budget, tightened, latest, last=rounds[budget.name] >= max_rounds)
            latest = pool.try_all(again(tightened).population, quiet=quiet)
            proposed[budget.name] += latest
            rounds[budget.name] += 1
    winners = []
    for budget in budgets:
        winner = pool.best(budget.limits)
        assert winner is not None
        candidates = tuple(dict.fromkeys(proposed[budget.name]))
        chosen_by = "int8_accuracy" if int8 is not None and int8.judges(budget.limits) else "selection_accuracy"
        winners.append(Winner(budget, winner, candidates, rounds[budget.name], chosen_by))
    return Outcome(winners=tuple(winners), finalists=pool.finalists)


def _tightened(
    pool: _Pool, budget: ResolvedBudget, previous: ResolvedBudget, latest: Sequence[str], *, last: bool
) -> ResolvedBudget:
    """Limits on predicted costs for the next round; never below the cheapest network, which is the last to be tried."""
    tried = [pool.finalists[key] for key in latest]
    limits = dict(previous.limits)
    moved = False
    for name in budget.limits:
        if name not in pool.books:
            continue
        floor = pool.costs[name].minimum()[0] * (1 + 1e-9)
        over = [finalist for finalist in tried if finalist.cost(name) > budget.limits[name]]
        if not over or previous.limits[name] <= floor:
            continue
        ratio = float(np.median([finalist.cost(name) / finalist.predicted_costs[name] for finalist in over]))
        wanted = min(budget.limits[name] / ratio, _STEP * previous.limits[name])
        limits[name] = floor if last else max(wanted, floor)
        moved = True
    if not moved:
        raise _rejected(pool, budget, tried)
    return ResolvedBudget(budget.name, limits)


def _rejected(pool: _Pool, budget: ResolvedBudget, tried: Sequence[Finalist]) -> Infeasible:
    """Even the network predicted cheapest is over the budget once it runs."""

    def worst(finalist: Finalist) -> float:
        return max(finalist.cost(name) / limit for name, limit in budget.limits.items())

    nearest = min(pool.finalists.values(), key=lambda f: (worst(f), f.architecture.key))
    exceeded = nearest.exceeded(budget.limits)
    binding = max(exceeded, key=lambda name: exceeded[name] / budget.limits[name])
    reached = {name: nearest.cost(name) for name in budget.limits}
    details: dict[str, Any] = {
        "budget": budget.name,
        "limits": dict(budget.limits),
        "smallest": reached,
        "binding": binding,
        "proven": False,
        "nearest": {
            "key": nearest.architecture.key,
            "architecture": nearest.architecture.to_json(),
            "costs": reached,
        },
    }
    return Infeasible(
        f"budget {budget.name!r}: predicted to be possible, but all {len(pool.finalists)} networks tried exceed "
        f"{binding} <= {format_cost(budget.limits[binding], binding)} when measured; the nearest, "
        f"{nearest.architecture.key}, takes {format_cost(reached[binding], binding)}",
        details=details,
    )
