"""A search algorithm: simulated annealing (Kirkpatrick, Gelatt and Vecchi, Science 1983) of many networks at a time.

Each chain looks at a network that differs from its own in a few genes, and goes there if that is better, or by chance
if it is not much worse; what counts as much falls while the search goes on.
"""

from __future__ import annotations

import numpy as np

from ofa.search.algorithms.base import Scores, SearchState, SearchTask
from ofa.search.algorithms.repair import repaired
from ofa.search.algorithms.row_set import RowSet
from ofa.search.algorithms.state_file import generator_state, restored_generator
from search_spaces.genome import Population

_ATTEMPTS = 20
#: temperature at the start, in standard deviations of the scores, and at the end
_HOT, _COLD = 1.0, 0.01


def annealing(task: SearchTask) -> Annealing:
    """What `--algorithm annealing` makes."""
    return Annealing(task)


class Annealing:
    """`task.population` chains; ends after about `task.evaluations` networks, or when nothing is new."""

    def __init__(self, task: SearchTask) -> None:
        self._task, self._space = task, task.space
        self._rng = np.random.default_rng([task.seed, task.space.num_genes, 83])
        self._known = RowSet(task.space.num_genes)
        self._rows = np.zeros((0, task.space.num_genes), dtype=np.int64)
        self._scores = Scores(np.zeros(0), np.zeros(0))
        self._from = np.zeros(0, dtype=np.int64)  # the chain of every network that was asked last; none: starts

    def ask(self) -> Population:
        """A neighbour of every chain (of those that have a new one); at first, where the chains start."""
        if len(self._known) >= self._task.evaluations:
            return self._rows[:0]
        if not len(self._rows):
            return self._known.add(self._within(self._starts()))
        for attempt in range(_ATTEMPTS):
            rate = min(1.0, (1 + attempt) / self._space.num_genes)
            moved = self._within(self._space.mutate(self._rows, self._rng, rate))
            new = self._known.add_first(moved)
            if len(new):
                self._from = new
                return moved[new]
        self._from = self._from[:0]
        return self._known.add(self._within(self._space.sample(self._task.population, self._rng)))

    def tell(self, population: Population, scores: Scores) -> None:
        if not len(self._from):  # starts: the best of old and new are the chains
            rows, joined = np.concatenate([self._rows, population]), self._scores.joined(scores)
            best = np.lexsort((-joined.objective, joined.violation))[: self._task.population]
            self._rows, self._scores = rows[best], joined.take(best)
            return
        here = self._scores.take(self._from)
        spread = float(self._scores.objective.std()) or 1e-12
        done = min(1.0, len(self._known) / max(1, self._task.evaluations))
        temperature = spread * _HOT * (_COLD / _HOT) ** done
        worse = np.minimum(scores.objective - here.objective, 0.0)
        alike = scores.violation == here.violation
        lucky = self._rng.random(len(population)) < np.exp(worse / temperature)
        goes = (scores.violation < here.violation) | (alike & lucky)
        target = self._from[goes]
        self._rows = self._rows.copy()
        self._rows[target] = population[goes]
        objective, violation = self._scores.objective.copy(), self._scores.violation.copy()
        objective[target], violation[target] = scores.objective[goes], scores.violation[goes]
        self._scores = Scores(objective, violation)

    def state(self) -> SearchState:
        arrays = {"rows": self._rows, "objective": self._scores.objective, "violation": self._scores.violation}
        return SearchState({**arrays, "known": self._known.hashes}, {"rng": generator_state(self._rng)})

    def restore(self, state: SearchState) -> None:
        self._rows = state.arrays["rows"]
        self._scores = Scores(state.arrays["objective"], state.arrays["violation"])
        self._known.restore(state.arrays["known"])
        self._rng = restored_generator(state.values["rng"])

    def _starts(self) -> Population:
        rows = self._space.sample(self._task.population, self._rng)
        return rows if self._task.start is None else np.concatenate([self._space.canonical(self._task.start), rows])

    def _within(self, rows: Population) -> Population:
        """Rows over a limit, moved towards a network that keeps it: as far as is needed."""
        start = self._task.start
        anchors = rows[:0] if start is None else start[self._task.violation(start) == 0]
        if not len(anchors):
            return self._space.canonical(rows)
        return repaired(self._space, rows, anchors, lambda drawn: self._task.violation(drawn) == 0, self._rng)
