"""Pareto fronts: of given points, of what a search has scored, and of a whole space as the predictor sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import Scores, SearchState, drive
from ofa.search.algorithms.dominance import non_dominated
from ofa.search.algorithms.exhaustive import Exhaustive
from ofa.search.algorithms.neighbourhood import neighbours_of
from ofa.search.algorithms.nsga2 import NSGA2
from ofa.search.algorithms.row_set import RowSet

if TYPE_CHECKING:
    from predictors.base import Predict
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

#: Networks scored at once: bounds the memory.
_CHUNK = 16384
#: Most neighbours of the front that are asked at once.
_AROUND = 4096


def pareto_front(costs: Floats, accuracy: Floats) -> npt.NDArray[np.int64]:
    """Positions of the points that no other point beats: no dearer in any cost, no less accurate, better somewhere.

    `costs` is (num,) or (num, num_costs), `accuracy` (num,). In the order of the first cost; of equal points the first.
    """
    columns = costs[:, None] if costs.ndim == 1 else costs
    return non_dominated(np.column_stack([columns[:, 0], -accuracy, columns[:, 1:]]))


class FrontArchive:
    """The networks told so far that keep the limits and that no other such network beats; the best in the first
    objective last. Of networks with equal scores only one is kept.
    """

    def __init__(self, num_genes: int) -> None:
        self.population: Population = np.zeros((0, num_genes), dtype=np.int64)
        self.scores = Scores(np.zeros((0, 1)), np.zeros(0))

    def add(self, population: Population, scores: Scores) -> None:
        kept = np.flatnonzero(scores.violation == 0)
        told = Scores(scores.objectives[kept], scores.violation[kept])
        rows = np.concatenate([self.population, population[kept]])
        joined = self.scores.joined(told) if len(self.population) else told
        front = non_dominated(-joined.objectives)[::-1]
        self.population, self.scores = rows[front], joined.take(front)

    def __len__(self) -> int:
        return len(self.population)

    def state(self) -> SearchState:
        arrays = {"population": self.population, "objective": self.scores.objective}
        return SearchState({**arrays, "violation": self.scores.violation}, {})

    def restore(self, state: SearchState) -> None:
        self.population = state.arrays["population"]
        self.scores = Scores(state.arrays["objective"], state.arrays["violation"])


def front_scores(
    predict: Predict, costs: Sequence[CostTable], violation: Callable[[Population], Floats] | None = None
) -> Callable[[Population], Scores]:
    """Objectives of a front: the predicted accuracy, and every cost turned round, as all objectives are maximised."""

    def score(population: Population) -> Scores:
        values = [-cost.evaluate(population) for cost in costs]
        objectives = np.column_stack([predict(population).mean, *values])
        return Scores(objectives, np.zeros(len(population)) if violation is None else violation(population))

    return score


def predicted_front(
    space: SearchSpace,
    predict: Predict,
    cost: CostTable | Sequence[CostTable],
    *,
    num_samples: int = 4096,
    generations: int = 120,
    population: int = 256,
    seed: int = 0,
    violation: Callable[[Population], Floats] | None = None,
) -> Population:
    """The front of predicted accuracy against one cost or several, cheapest in the first one first: rows (num,
    num_genes).

    Small spaces (up to `num_samples` networks) are listed, so that the front is exact. In others NSGA-II finds most of
    it, and then the front itself is improved: all neighbours of its networks are scored, for as many networks again at
    most. With a `violation` only networks that keep the limits are in the front.
    """
    costs = cost if isinstance(cost, Sequence) else [cost]
    score = front_scores(predict, costs, violation)
    archive = FrontArchive(space.num_genes)
    if space.size <= num_samples:
        drive(Exhaustive(space, limit=num_samples), score, archive)
    else:
        ends = np.stack([row for table in costs for _, row in (table.minimum(), table.maximum())])
        search = NSGA2(space, population=population, generations=generations, seed=seed, start=ends)
        num_scored = drive(search, score, archive)
        _explore(space, score, archive, num_scored)
    order = np.lexsort([-archive.scores.objectives[:, column] for column in (0, 1)])
    return archive.population[order]


def _explore(space: SearchSpace, score: Callable[[Population], Scores], archive: FrontArchive, most: int) -> None:
    """Pareto local search (L. Paquete, M. Chiarandini, T. Stuetzle, 2004): score the neighbours of the front until none
    is new, or `most` networks were scored.
    """
    explored, scored = RowSet(space.num_genes), RowSet(space.num_genes)
    scored.add(archive.population)
    while most > 0:
        members = archive.population[explored.new(archive.population)]
        if not len(members):
            return
        members = members[np.linspace(0, len(members) - 1, min(len(members), 1 + _AROUND // 64)).astype(np.int64)]
        explored.add(members)
        rows = scored.add(neighbours_of(space, members)[0])[:most]
        most -= len(rows)
        if len(rows):
            archive.add(rows, score(rows))


def random_front(
    space: SearchSpace,
    predict: Predict,
    costs: CostTable | Sequence[CostTable],
    *,
    num: int = 1_000_000,
    seed: int = 0,
    chunk: int = _CHUNK,
    uniform: bool = True,
    violation: Callable[[Population], Floats] | None = None,
) -> FrontArchive:
    """The front of `num` random networks (uniform over distinct networks, or gene by gene), scored `chunk` at a time:
    memory does not grow with `num`.
    """
    score = front_scores(predict, costs if isinstance(costs, Sequence) else [costs], violation)
    archive = FrontArchive(space.num_genes)
    rng = np.random.default_rng([seed, space.num_genes])
    for start in range(0, num, chunk):
        rows = space.sample(min(chunk, num - start), rng, uniform)
        archive.add(rows, score(rows))
    return archive
