"""Search algorithms as ask and tell over integer matrices; whole populations at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What a population is worth: `objective`, (num,) or (num, num_objectives), is maximised; `violation` (num,) is 0
    where limits are kept.
    """

    objective: Floats
    violation: Floats

    @property
    def objectives(self) -> Floats:
        """(num, num_objectives), one column where there is one objective."""
        return self.objective if self.objective.ndim == 2 else self.objective[:, None]

    def take(self, rows: npt.NDArray[Any]) -> Scores:
        """Those of some rows: positions, or a mask."""
        return Scores(self.objective[rows], self.violation[rows])

    def joined(self, other: Scores) -> Scores:
        """These, then those."""
        objective = np.concatenate([self.objective, other.objective])
        return Scores(objective, np.concatenate([self.violation, other.violation]))


@dataclass(frozen=True)
class SearchState:
    """All that a search knows, to go on from elsewhere: arrays, and what JSON can hold."""

    arrays: dict[str, npt.NDArray[Any]]
    values: dict[str, Any]


class SearchAlgorithm(Protocol):
    """Proposes populations until it has nothing more to ask: distinct canonical rows, no network ever twice.

    What was made with the same arguments and restored from a `state` goes on as the original would have. A state is
    that of a search with nothing in hand: after a `tell`, before the next `ask`.
    """

    def ask(self) -> Population:
        """The next distinct networks to score (num, num_genes); no rows: the search is over."""

    def tell(self, population: Population, scores: Scores) -> None:
        """The scores of what was asked last."""

    def state(self) -> SearchState: ...

    def restore(self, state: SearchState) -> None: ...


def all_keep(rows: Population) -> Floats:
    return np.zeros(len(rows))


@dataclass(frozen=True)
class SearchTask:
    """What a search algorithm is made for, by its name in a config; each reads what concerns it."""

    space: SearchSpace
    population: int = 128
    generations: int = 200
    patience: int = 60
    """Generations without a better network before a search ends early."""
    exhaustive_limit: int = 100_000
    seed: int = 0
    start: Population | None = None
    """Networks to begin with."""
    violation: Callable[[Population], Floats] = all_keep
    """How far rows break limits, known without scoring them; 0: not at all."""
    limited: tuple[tuple[CostTable, float], ...] = ()
    """The costs that have limits, and these."""

    @property
    def evaluations(self) -> int:
        """How many networks may be scored in all, by those who count them so."""
        return self.population * self.generations


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
            population, scores = population[good], scores.take(good)
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

    def state(self) -> SearchState:
        arrays = {"population": self.population, "objective": self.scores.objective}
        return SearchState({**arrays, "violation": self.scores.violation}, {})

    def restore(self, state: SearchState) -> None:
        self.population = state.arrays["population"]
        self.scores = Scores(state.arrays["objective"], state.arrays["violation"])


class Keeper(Protocol):
    """Keeps what is wanted of all that a search scores: `Archive` the best, `FrontArchive` the front."""

    def add(self, population: Population, scores: Scores) -> None: ...

    def state(self) -> SearchState: ...

    def restore(self, state: SearchState) -> None: ...


def violations(costs: Mapping[str, CostTable], limits: Mapping[str, float], population: Population) -> Floats:
    """(num,) sum over the limits of how far each is exceeded, as a share of the limit; 0 where all are kept."""
    total = np.zeros(len(population))
    for name, limit in limits.items():
        total += np.maximum(costs[name].evaluate(population) / limit - 1.0, 0.0)
    return total


def drive(algorithm: SearchAlgorithm, score: Callable[[Population], Scores], archive: Keeper) -> int:
    """Run `algorithm` to its end, keeping in `archive` what it keeps; returns how many networks were scored."""
    num = 0
    while len(population := algorithm.ask()):
        scores = score(population)
        algorithm.tell(population, scores)
        archive.add(population, scores)
        num += len(population)
    return num
