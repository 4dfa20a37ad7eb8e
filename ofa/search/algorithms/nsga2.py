"""NSGA-II: a population spread along the front of any number of objectives, under constraint domination.

K. Deb, A. Pratap, S. Agarwal, T. Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002).
Networks are rows of options, so children come from uniform crossover and from genes that take another option; no
network is asked twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ofa.search.algorithms.base import Scores, SearchState
from ofa.search.algorithms.dominance import constrained_ranks, crowding
from ofa.search.algorithms.row_set import RowSet
from ofa.search.algorithms.state_file import generator_state, restored_generator

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

#: Share of the children that begin as a crossover.
_CROSSED = 0.9
#: A child differs in so many genes at most (before crossover); where little is new, in more and more, so often.
_CHANGED, _ATTEMPTS = 2, 6


class NSGA2:
    """Ends after `generations`, or after `patience` of them in which no child survived, or when nothing is new."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 128,
        generations: int = 200,
        patience: int = 60,
        seed: int = 0,
        start: Population | None = None,
    ) -> None:
        self._space, self._num, self._generations, self._patience = space, population, generations, patience
        self._rng = np.random.default_rng([seed, space.num_genes, 2])
        nothing = np.zeros((0, space.num_genes), dtype=np.int64)
        self._start = nothing if start is None else space.canonical(start)
        self._asked = RowSet(space.num_genes)
        self._members, self._scores = nothing, Scores(np.zeros((0, 1)), np.zeros(0))
        self._ranks, self._distance = np.zeros(0, dtype=np.int64), np.zeros(0)
        self._generation = self._idle = 0

    def ask(self) -> Population:
        if self._generation == 0:
            return self._asked.add(self._first())
        asked = [self._members[:0]]
        if self._generation >= self._generations or self._idle >= self._patience:
            return asked[0]
        for attempt in range(_ATTEMPTS):
            missing = self._num - sum(map(len, asked))
            if missing == 0 or len(self._asked) == self._space.size:
                break
            asked.append(self._asked.add(self._children(_CHANGED * (attempt + 1))[:missing]))
        return np.concatenate(asked)

    def tell(self, population: Population, scores: Scores) -> None:
        """Keep the best of the members and of what was asked: by layer, of the last with room the least crowded."""
        rows = np.concatenate([self._members, population])
        told = Scores(scores.objectives, scores.violation)
        joined = self._scores.joined(told) if len(self._members) else told
        ranks = constrained_ranks(-joined.objectives, joined.violation)
        distance = crowding(joined.objectives, ranks)
        order = np.lexsort((-distance, ranks))[: self._num]
        self._idle = 0 if (order >= len(self._members)).any() else self._idle + 1
        self._members, self._scores = rows[order], joined.take(order)
        self._ranks, self._distance = ranks[order], distance[order]
        self._generation += 1

    def _first(self) -> Population:
        """Given networks, the smallest and the largest, samples, and samples mixed with one of those two: uniform
        samples alone crowd in the middle.
        """
        macs = self._space.cost("macs")
        ends = np.stack([macs.minimum()[1], macs.maximum()[1]])
        drawn = self._space.sample(self._num, self._rng)
        near = ends[np.arange(self._num) % 2]
        share = self._rng.random((self._num, 1))
        pulled = self._space.genome.crossover(near, drawn, self._rng, share)
        return np.concatenate([self._start, ends, drawn, pulled])

    def _children(self, most: int) -> Population:
        first, second = self._parents(), self._parents()
        alone = self._rng.random(len(first)) >= _CROSSED
        second[alone] = first[alone]
        children = self._space.genome.crossover(first, second, self._rng)
        count = self._rng.integers(0, most + 1, size=len(children))
        return self._space.genome.change(children, self._rng, count + (alone & (count == 0)))

    def _parents(self) -> Population:
        """Winners of tournaments of two."""
        one, other = self._rng.integers(len(self._members), size=(2, self._num))
        worse = self._ranks[one] > self._ranks[other]
        alike = self._ranks[one] == self._ranks[other]
        return self._members[np.where(worse | (alike & (self._distance[one] < self._distance[other])), other, one)]

    def state(self) -> SearchState:
        arrays = {"members": self._members, "objective": self._scores.objective, "violation": self._scores.violation}
        arrays |= {"ranks": self._ranks, "distance": self._distance, "asked": self._asked.hashes}
        values = {"generation": self._generation, "idle": self._idle, "rng": generator_state(self._rng)}
        return SearchState(arrays, values)

    def restore(self, state: SearchState) -> None:
        arrays, values = state.arrays, state.values
        self._members, self._scores = arrays["members"], Scores(arrays["objective"], arrays["violation"])
        self._ranks, self._distance = arrays["ranks"], arrays["distance"]
        self._asked.restore(arrays["asked"])
        self._generation, self._idle = values["generation"], values["idle"]
        self._rng = restored_generator(values["rng"])
