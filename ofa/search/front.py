"""Pareto fronts: of given points, and of a whole space as the predictor sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.row_set import RowSet

if TYPE_CHECKING:
    from predictors.base import BoundPredictor
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]


def pareto_front(costs: Floats, accuracy: Floats) -> npt.NDArray[np.int64]:
    """Positions of the points that no other point beats: no dearer in any cost, no less accurate, better somewhere.

    `costs` is (num,) or (num, num_costs), `accuracy` (num,). In the order of the first cost; of equal points the first.
    """
    columns = costs[:, None] if costs.ndim == 1 else costs
    order = np.lexsort((np.arange(len(accuracy)), *columns.T[:0:-1], -accuracy, columns[:, 0]))
    if columns.shape[1] == 1:
        sorted_accuracy = accuracy[order]
        before = np.concatenate([[-np.inf], np.maximum.accumulate(sorted_accuracy)[:-1]])
        return np.asarray(order[sorted_accuracy > before])
    points = np.concatenate([columns, -accuracy[:, None]], axis=1)
    remaining, front = order, []
    while len(
        remaining
    ):  # the first in order is beaten by nobody after it, nor by the front so far: once a member of it
        first, remaining = remaining[0], remaining[1:]
        front.append(first)
        remaining = remaining[(points[remaining] < points[first]).any(axis=1)]
    return np.array(front, dtype=np.int64)


def predicted_front(
    space: SearchSpace,
    predict: BoundPredictor,
    cost: CostTable,
    *,
    num_samples: int = 4096,
    generations: int = 40,
    population: int = 512,
    seed: int = 0,
) -> Population:
    """The front of predicted accuracy against `cost`, cheapest first: rows (num, num_genes).

    Starts from samples over the whole range of sizes and evolves the front itself: mutants and crossovers of members,
    each network scored once. Small spaces (up to `num_samples` networks) are listed, so that the front is exact.
    """
    rng = np.random.default_rng([seed, num_samples])
    if space.size <= num_samples:
        return _front_of(space.enumerate(num_samples), predict, cost)
    ends = np.stack([cost.minimum()[1], cost.maximum()[1]])
    drawn = space.sample(num_samples, rng)
    pulled = space.crossover(drawn, ends[np.arange(num_samples) % 2], rng)
    seen = RowSet(space.num_genes)
    front = _front_of(seen.add(np.concatenate([ends, drawn, pulled])), predict, cost)
    for _ in range(generations):
        parents, mates = (front[rng.integers(len(front), size=population)] for _ in range(2))
        close = np.sort(rng.integers(len(front), size=(population, 2)), axis=1)
        children = np.concatenate(
            [
                space.mutate(parents, rng, min(1.0, 1.5 / space.num_genes)),
                space.mutate(space.crossover(front[close[:, 0]], mates, rng), rng, 0.5 / space.num_genes),
            ]
        )
        new = seen.add(children)
        if len(new):
            front = _front_of(np.concatenate([front, new]), predict, cost)
    return front


def _front_of(rows: Population, predict: BoundPredictor, cost: CostTable) -> Population:
    return rows[pareto_front(cost.evaluate(rows), predict(rows).mean)]
