"""Local search from many starts: each network moves to the best of its neighbours until none is better.

Best improvement over all networks that differ in one gene, for many climbs at once; when all have arrived, others begin
from random networks. C. White et al., "Exploring the loss landscape in neural architecture search" (2021) find it
hard to beat where scores have little noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import Floats, Scores, SearchState, all_keep
from ofa.search.algorithms.neighbourhood import neighbours_of
from ofa.search.algorithms.repair import repaired
from ofa.search.algorithms.row_set import RowScores
from ofa.search.algorithms.state_file import generator_state, restored_generator

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

_ATTEMPTS = 20


class LocalSearch:
    """`climbs` at a time; ends after about `evaluations` networks (neighbours are not cut short), or when nothing is
    new.

    `violation` tells of rows, before they are scored, how far they break limits: neighbours that break them more than
    where the climb stands are not scored.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        climbs: int = 8,
        evaluations: int = 25_600,
        seed: int = 0,
        start: Population | None = None,
        violation: Callable[[Population], Floats] = all_keep,
    ) -> None:
        self._space, self._num, self._evaluations = space, climbs, evaluations
        self._rng = np.random.default_rng([seed, space.num_genes, 4])
        self._start = np.zeros((0, space.num_genes), dtype=np.int64) if start is None else space.canonical(start)
        self._violation = violation
        self._known = RowScores(space.num_genes)
        self._members, self._scores = self._start[:0], Scores(np.zeros(0), np.zeros(0))
        self._asked_starts = False

    def ask(self) -> Population:
        """The neighbours of where the climbs stand; where those are known, the climbs move on at once."""
        while len(self._known) < self._evaluations:
            if not len(self._members):
                starts = self._starts()
                self._asked_starts = len(starts) > 0
                return starts
            new = self._known.new(self._around()[0])
            if len(new):
                self._asked_starts = False
                return new
            self._move()
        return self._start[:0]

    def tell(self, population: Population, scores: Scores) -> None:
        self._known.add(population, scores)
        if self._asked_starts:
            best = np.lexsort((-scores.objective, scores.violation))[: self._num]
            self._members, self._scores = population[best], scores.take(best)
        else:
            self._move()

    def _around(self) -> tuple[Population, npt.NDArray[np.int64]]:
        """The neighbours worth a look, and of which climb."""
        rows, climb = neighbours_of(self._space, self._members)
        fine = self._violation(rows) <= self._scores.violation[climb]
        return rows[fine], climb[fine]

    def _move(self) -> None:
        """Every climb to its best neighbour; those that have none better are over."""
        rows, climb = self._around()
        scores = self._known.scores(rows)
        order = np.lexsort((-scores.objective, scores.violation, climb))
        best = order[np.unique(climb[order], return_index=True)[1]]
        rows, climb, scores = rows[best], climb[best], scores.take(best)
        here = self._scores.take(climb)
        alike = scores.violation == here.violation
        better = (scores.violation < here.violation) | (alike & (scores.objective > here.objective))
        moved = np.flatnonzero(better)
        moved = moved[np.sort(np.unique(rows[moved], axis=0, return_index=True)[1])]  # two climbs may have met
        self._members, self._scores = rows[moved], scores.take(moved)

    def _starts(self) -> Population:
        """Given networks the first time, and random ones, within the limits where one given keeps them."""
        anchors = self._start[self._violation(self._start) == 0]
        for _ in range(_ATTEMPTS):
            rows = self._space.sample(self._num, self._rng)
            if len(anchors):
                rows = repaired(self._space, rows, anchors, lambda drawn: self._violation(drawn) == 0, self._rng)
            new = self._known.new(np.concatenate([self._start, rows]))
            if len(new):
                return new
        return self._start[:0]

    def state(self) -> SearchState:
        arrays = {"members": self._members, "objective": self._scores.objective, "violation": self._scores.violation}
        return SearchState({**arrays, **self._known.state()}, {"rng": generator_state(self._rng)})

    def restore(self, state: SearchState) -> None:
        arrays = state.arrays
        self._members, self._scores = arrays["members"], Scores(arrays["objective"], arrays["violation"])
        self._known.restore(arrays)
        self._rng = restored_generator(state.values["rng"])
