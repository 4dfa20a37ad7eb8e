"""Ageing evolution: the oldest die, not the worst, so that no network stays because it was lucky once.

E. Real, A. Aggarwal, Y. Huang, Q. V. Le, "Regularized evolution for image classifier architecture search" (2019): of a
few members drawn at random the best has a child that differs in one gene, and the oldest member goes. Here many draws
are made at once, from the same members; under limits, the best is who breaks them least (constraint domination), and of
the mutants of a parent the first is taken that is new and breaks them no more than the parent does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ofa.search.algorithms.base import Floats, Scores, SearchState, all_keep
from ofa.search.algorithms.repair import repaired
from ofa.search.algorithms.row_set import RowSet
from ofa.search.algorithms.state_file import generator_state, restored_generator

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

#: Members in a tournament, as a share of all (25 of 100 in the paper's larger searches), and at least so many.
_TOURNAMENT, _FEWEST = 0.25, 2
#: Children asked at once, as a share of the members: what is learnt of one has its say soon.
_BATCH = 0.5
#: Mutants drawn of every parent; where none will do, more genes change at once, so often.
_DRAWN, _ATTEMPTS = 8, 6


class AgeingEvolution:
    """Ends after `evaluations` networks, after `patience` of them without a better one, or when nothing is new.

    `violation` tells of rows, before they are scored, how far they break limits; without it only the scores say so.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 128,
        evaluations: int = 25_600,
        patience: int = 7_680,
        seed: int = 0,
        start: Population | None = None,
        violation: Callable[[Population], Floats] = all_keep,
    ) -> None:
        self._space, self._num, self._evaluations, self._patience = space, population, evaluations, patience
        self._rng = np.random.default_rng([seed, space.num_genes, 3])
        self._start = np.zeros((0, space.num_genes), dtype=np.int64) if start is None else space.canonical(start)
        self._violation = violation
        self._asked = RowSet(space.num_genes)
        self._members, self._scores = self._start[:0], Scores(np.zeros(0), np.zeros(0))  # the oldest first
        self._told = self._idle = 0
        self._reached = (np.inf, np.inf)  # violation and negative objective of the best

    def ask(self) -> Population:
        left = self._evaluations - self._told
        if left <= 0 or self._idle >= self._patience:
            return self._start[:0]
        if self._told == 0:
            return self._asked.add(self._first())[:left]
        num = min(left, max(1, round(_BATCH * self._num)))
        asked = [self._start[:0]]
        for attempt in range(_ATTEMPTS):
            missing = num - sum(map(len, asked))
            if missing == 0 or len(self._asked) == self._space.size:
                break
            asked.append(self._children(missing, 1 + attempt))
        return np.concatenate(asked)

    def tell(self, population: Population, scores: Scores) -> None:
        best = np.lexsort((-scores.objective, scores.violation))[0]
        reached = (float(scores.violation[best]), -float(scores.objective[best]))
        self._idle = 0 if reached < self._reached else self._idle + len(population)
        self._reached = min(self._reached, reached)
        self._told += len(population)
        self._members = np.concatenate([self._members, population])[-self._num :]
        joined = self._scores.joined(scores)
        self._scores = joined.take(np.arange(len(joined.violation))[-self._num :])

    def _first(self) -> Population:
        """Samples and given networks, these the youngest; brought within the limits where one given keeps them."""
        rows = self._space.sample(self._num, self._rng)
        anchors = self._start[self._violation(self._start) == 0]
        if len(anchors):
            rows = repaired(self._space, rows, anchors, lambda drawn: self._violation(drawn) == 0, self._rng)
        return np.concatenate([rows, self._start])

    def _children(self, num: int, most: int) -> Population:
        """At most `num`, of as many tournaments; each differs from its parent in `most` genes or fewer."""
        size = max(_FEWEST, round(_TOURNAMENT * len(self._members)))
        drawn = self._rng.integers(len(self._members), size=(num, size))
        places = np.empty(len(self._members), dtype=np.int64)
        places[np.lexsort((-self._scores.objective, self._scores.violation))] = np.arange(len(self._members))
        parents = np.take_along_axis(drawn, places[drawn].argmin(axis=1)[:, None], axis=1)[:, 0]
        every = np.repeat(parents, _DRAWN)
        mutants = self._space.genome.change(self._members[every], self._rng, np.full(len(every), most))
        allowed = (self._violation(mutants) <= self._scores.violation[every]) & self._asked.new(mutants)
        first = allowed.reshape(num, _DRAWN).argmax(axis=1) + np.arange(num) * _DRAWN
        return self._asked.add(mutants[first[allowed[first]]])

    def state(self) -> SearchState:
        arrays = {"members": self._members, "objective": self._scores.objective, "violation": self._scores.violation}
        values = {"told": self._told, "idle": self._idle, "rng": generator_state(self._rng)}
        best = {"reached": np.array(self._reached), "asked": self._asked.hashes}
        return SearchState({**arrays, **best}, values)

    def restore(self, state: SearchState) -> None:
        arrays, values = state.arrays, state.values
        self._members, self._scores = arrays["members"], Scores(arrays["objective"], arrays["violation"])
        self._reached = (float(arrays["reached"][0]), float(arrays["reached"][1]))
        self._asked.restore(arrays["asked"])
        self._told, self._idle = values["told"], values["idle"]
        self._rng = restored_generator(values["rng"])
