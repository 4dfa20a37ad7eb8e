"""Search by predictor: for every budget the best distinct networks, in order of their predicted accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import Archive, Scores, SearchTask, drive
from ofa.search.algorithms.limits import Limits
from ofa.search.algorithms.registry import algorithm_of
from ofa.search.budgets import ResolvedBudget, ascending
from ofa.search.feasibility.feasible import feasible_networks

if TYPE_CHECKING:
    from ofa.search.settings import SearchSettings
    from predictors.base import Predict, Prediction
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population


@dataclass(frozen=True)
class Ranked:
    """The candidates of one budget, best predicted accuracy first; every one keeps every limit as predicted."""

    budget: ResolvedBudget
    population: Population  # (num, num_genes), distinct
    prediction: Prediction
    costs: dict[str, npt.NDArray[np.float64]]  # all known costs, (num,) each
    algorithm: str
    num_scored: int


def search(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    budgets: Sequence[ResolvedBudget],
    settings: SearchSettings,
    *,
    seed: int = 0,
) -> dict[str, Ranked]:
    """The `settings.candidates` best networks of every budget, by the budget's name, smallest budgets first.

    All budgets are checked for feasibility before the first is searched; raises `Infeasible` for the first that no
    network keeps. The best of a smaller budget start the search of the next.
    """
    ordered = ascending(budgets, costs)
    starts = {budget.name: feasible_networks(space, costs, budget, seed=seed) for budget in ordered}
    results: dict[str, Ranked] = {}
    earlier = np.zeros((0, space.num_genes), dtype=np.int64)
    for budget in ordered:
        start = np.concatenate([starts[budget.name], earlier])
        results[budget.name] = search_budget(space, predict, costs, budget, settings, seed=seed, start=start)
        earlier = np.unique(np.concatenate([earlier, results[budget.name].population]), axis=0)
    return results


def search_budget(
    space: SearchSpace,
    predict: Predict,
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    settings: SearchSettings,
    *,
    seed: int = 0,
    start: Population | None = None,
) -> Ranked:
    """Search one budget that is known to be feasible; `start` must hold a network that keeps it."""

    violation = Limits(costs, budget.limits)

    def score(population: Population) -> Scores:
        return Scores(predict(population).mean, violation(population))

    name, algorithm = algorithm_of(
        settings.algorithm,
        SearchTask(
            space,
            population=settings.population,
            generations=settings.generations,
            patience=settings.patience,
            exhaustive_limit=settings.exhaustive_limit,
            seed=seed,
            start=start,
            violation=violation,
            limited=tuple((costs[cost], limit) for cost, limit in budget.limits.items()),
        ),
    )
    archive = Archive(space.num_genes, settings.candidates)
    num_scored = drive(algorithm, score, archive)
    if start is not None and not (archive.scores.violation == 0).any():
        archive.add(start, score(start))  # chance may miss what is rare
    kept = archive.population[archive.scores.violation == 0]
    return Ranked(
        budget=budget,
        population=kept,
        prediction=predict(kept),
        costs={cost: table.evaluate(kept) for cost, table in costs.items()},
        algorithm=name,
        num_scored=num_scored,
    )
