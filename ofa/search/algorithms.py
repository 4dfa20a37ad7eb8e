"""Search algorithms as ask and tell over integer matrices; whole populations at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What a population is worth: `objective` (num,) is maximised; `violation` (num,) is 0 where limits are kept."""

    objective: Floats
    violation: Floats


class SearchAlgorithm(Protocol):
    """Proposes populations until it has nothing more to ask."""

    def ask(self) -> Population:
        """The next distinct networks to score (num, num_genes); no rows: the search is over."""

    def tell(self, population: Population, scores: Scores) -> None:
        """The scores of what was asked last."""


class Archive:
    """The `capacity` best distinct rows told so far, best first: limits kept, then objective, then the row itself.

    Networks that break limits are ranked by how far, so that a search finds its way into a small feasible region.
    """

    def __init__(self, num_genes: int, capacity: int) -> None:
        self.capacity = capacity
        self.population: Population = np.zeros((0, num_genes), dtype=np.int64)
        self.scores = Scores(np.zeros(0), np.zeros(0))

    def add(self, population: Population, scores: Scores) -> None:
        if len(self) == self.capacity:  # most of a long search cannot get in
            worst, last = self.scores.violation[-1], self.scores.objective[-1]
            good = (scores.violation < worst) | ((scores.violation == worst) & (scores.objective >= last))
            if not good.any():
                return
            population, scores = population[good], Scores(scores.objective[good], scores.violation[good])
        rows = np.concatenate([self.population, population])
        objective = np.concatenate([self.scores.objective, scores.objective])
        violation = np.concatenate([self.scores.violation, scores.violation])
        if len(rows) > 4 * self.capacity:  # sorting by rows is dear: first drop what cannot get in
            worst = np.lexsort((-objective, violation))[2 * self.capacity - 1]
            good = (violation < violation[worst]) | ((violation == violation[worst]) & (objective >= objective[worst]))
            rows, objective, violation = rows[good], objective[good], violation[good]
        order = np.lexsort((*rows.T[::-1], -objective, violation))
        rows = rows[order]
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (rows[1:] != rows[:-1]).any(axis=1)  # equal rows have equal scores, so they are neighbours
        kept = np.flatnonzero(first)[: self.capacity]
        self.population = rows[kept]
        self.scores = Scores(objective[order][kept], violation[order][kept])

    def __len__(self) -> int:
        return len(self.population)


def violations(costs: Mapping[str, CostTable], limits: Mapping[str, float], population: Population) -> Floats:
    """(num,) sum over the limits of how far each is exceeded, as a share of the limit; 0 where all are kept."""
    total = np.zeros(len(population))
    for name, limit in limits.items():
        total += np.maximum(costs[name].evaluate(population) / limit - 1.0, 0.0)
    return total


def drive(algorithm: SearchAlgorithm, score: Callable[[Population], Scores], archive: Archive) -> int:
    """Run `algorithm` to its end, keeping the best in `archive`; returns how many networks were scored."""
    num = 0
    while len(population := algorithm.ask()):
        scores = score(population)
        algorithm.tell(population, scores)
        archive.add(population, scores)
        num += len(population)
    return num
