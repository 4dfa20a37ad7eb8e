"""The Pareto set over accuracy and several costs at once: what a search of several devices trades off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import violations
from ofa.search.front import Floats, pareto_front, predicted_front

if TYPE_CHECKING:
    from ofa.search.budgets import ResolvedBudget
    from ofa.search.offline.shared_scores import SharedScores
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

#: Rows compared with each other, and with the front, at once; members that go on evolving, at most.
_CHUNK, _BLOCK, _MEMBERS = 2048, 256, 1500


@dataclass(frozen=True)
class JointFront:
    """Networks of which none is beaten in accuracy and all costs, most accurate first.

    `exact`: all networks of the space were compared. `num` were found; where these are too many, `population` is one
    of every cell of a grid over their accuracies and costs.
    """

    population: Population
    num: int
    exact: bool


def joint_front(
    space: SearchSpace,
    predict: SharedScores,
    costs: Mapping[str, CostTable],
    budgets: Sequence[ResolvedBudget],
    *,
    generations: int = 20,
    children: int = 512,
    most: int = 500,
    seed: int = 0,
) -> JointFront:
    """The front of predicted accuracy and `costs`, among the networks that keep at least one of `budgets`.

    Everything `predict` was asked about is compared, and the front of each cost alone; unless that is the whole space,
    the front is then evolved: mutants and crossovers of its members.
    """
    rng = np.random.default_rng([seed, len(costs)])
    exact = len(predict.population) == space.size
    if not exact:
        for cost in costs.values():
            predicted_front(space, predict, cost, seed=seed)
    front = _joined(predict.population[:0], predict.population, predict, costs, budgets)
    for _ in range(0 if exact or not len(front) else generations):
        members = _thinned(front, predict, costs, _MEMBERS)
        parents, mates = (members[rng.integers(len(members), size=children)] for _ in range(2))
        mixed = np.where(rng.random((children, 1)) < 0.5, space.crossover(parents, mates, rng), parents)
        mutants = space.mutate(mixed, rng, min(1.0, 1.5 / space.num_genes))
        front = _joined(front, mutants, predict, costs, budgets)
    shown = _thinned(front, predict, costs, most)
    order = np.argsort(-predict(shown).mean, kind="stable")
    return JointFront(shown[order], len(front), exact)


def _joined(
    front: Population,
    new: Population,
    predict: SharedScores,
    costs: Mapping[str, CostTable],
    budgets: Sequence[ResolvedBudget],
) -> Population:
    """The front of a front and of new rows, those that keep a budget; of equal points the first."""
    kept = np.zeros(len(new), dtype=bool)
    for budget in budgets:
        kept |= violations(costs, budget.limits, new) == 0
    new = new[kept]
    for start in range(0, len(new), _CHUNK):
        part = new[start : start + _CHUNK]
        part = part[pareto_front(_values(part, costs), predict(part).mean)]
        old, points = _points(front, predict, costs), _points(part, predict, costs)
        part, points = part[~_matched(points, old)], points[~_matched(points, old)]
        front = np.concatenate([front[~_matched(old, points)], part])
    return front


def _matched(points: Floats, others: Floats) -> npt.NDArray[np.bool_]:
    """(num,) for which of the points one of the others is as good in everything."""
    found = np.zeros(len(points), dtype=bool)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        good = np.ones((len(block), len(others)), dtype=bool)
        for column in range(points.shape[1]):
            good &= others[:, column] <= block[:, column, None]
        found[start : start + _BLOCK] = good.any(axis=1)
    return found


def _points(rows: Population, predict: SharedScores, costs: Mapping[str, CostTable]) -> Floats:
    """(num, 1 + num_costs), less is better."""
    return np.column_stack([-predict(rows).mean, _values(rows, costs)])


def _values(rows: Population, costs: Mapping[str, CostTable]) -> Floats:
    return np.stack([cost.evaluate(rows) for cost in costs.values()], axis=1)


def _thinned(rows: Population, predict: SharedScores, costs: Mapping[str, CostTable], most: int) -> Population:
    """At most `most` rows: the most accurate of every cell of the finest grid that has so few, and the best in every
    objective.
    """
    if len(rows) <= most:
        return rows
    points = _points(rows, predict, costs)
    best = points.argmin(axis=0)
    spread = np.maximum(np.ptp(points, axis=0), 1e-300)
    order = np.argsort(points[:, 0], kind="stable")
    cells = 2.0**10
    while True:
        grid = np.minimum(np.floor((points[order] - points.min(axis=0)) / spread * cells), cells - 1)
        first = np.unique(grid, axis=0, return_index=True)[1]
        chosen = np.unique(np.concatenate([order[first], best]))
        if len(chosen) <= most or cells <= 1:
            return rows[chosen]
        cells /= 1.3
