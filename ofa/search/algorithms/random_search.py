"""Random search: every network alike, or networks of every cost alike. What every other search has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ofa.search.algorithms.base import Scores, SearchState
from ofa.search.algorithms.row_set import RowSet
from ofa.search.algorithms.state_file import generator_state, restored_generator

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

#: A space of which a good part is wanted is listed and shuffled, if it has no more networks than this.
_LISTED = 2_000_000
#: Draws in a row that may bring nothing new before the search ends.
_ATTEMPTS = 50
#: Networks drawn for the one that is taken, where the cost is to be spread.
_POOL = 4


class RandomSearch:
    """`evaluations` distinct networks, `chunk` at a time: uniform over distinct networks, or, with a `cost`, spread
    evenly over it from the cheapest network to `highest` (None: to the dearest).
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        evaluations: int = 25_600,
        chunk: int = 4096,
        seed: int = 0,
        cost: CostTable | None = None,
        highest: float | None = None,
    ) -> None:
        self._space, self._left, self._chunk, self._cost = space, min(evaluations, space.size), chunk, cost
        self._rng = np.random.default_rng([seed, space.num_genes, 5])
        self._asked, self._position = RowSet(space.num_genes), 0
        self._shuffled: Population | None = None
        if cost is None and space.size <= min(_LISTED, 4 * evaluations):
            order = np.random.default_rng([seed, space.num_genes]).permutation(space.size)
            self._shuffled = space.enumerate(_LISTED)[order]
        elif cost is not None:
            (low, cheapest), (high, dearest) = cost.minimum(), cost.maximum()
            self._ends, self._range = np.stack([cheapest, dearest]), (low, min(high, highest or high))

    def ask(self) -> Population:
        num = min(self._chunk, self._left)
        if self._shuffled is not None:
            rows = self._shuffled[self._position : self._position + num]
            self._position += num
            self._left -= num
            return rows
        asked = [np.zeros((0, self._space.num_genes), dtype=np.int64)]
        idle = 0
        while (missing := num - sum(map(len, asked))) > 0 and idle < _ATTEMPTS:
            rows = self._draw(missing)
            asked.append(self._asked.add(rows))
            idle = 0 if len(asked[-1]) else idle + 1
        rows = np.concatenate(asked)
        self._left -= len(rows)
        return rows

    def tell(self, population: Population, scores: Scores) -> None:
        pass

    def _draw(self, num: int) -> Population:
        return self._space.sample(num, self._rng) if self._cost is None else self._stratified(self._cost, num)

    def _stratified(self, cost: CostTable, num: int) -> Population:
        """One network for each of `num` equal parts of the range of costs, in which a place is drawn: the nearest new
        one of a pool that reaches to both ends.
        """
        drawn = self._space.sample(_POOL * num, self._rng)
        share = self._rng.random((len(drawn), 1))
        ends = self._ends[np.arange(len(drawn)) % 2]
        pool = self._space.genome.crossover(ends, drawn, self._rng, share)
        pool = pool[self._asked.new(pool)]
        if len(pool) < 2:
            return pool
        values = cost.evaluate(pool)
        order = np.argsort(values, kind="stable")
        values = values[order]
        low, high = self._range
        wanted = low + (np.arange(num) + self._rng.random(num)) / num * (high - low)
        right = np.clip(np.searchsorted(values, wanted), 1, len(values) - 1)
        nearest = np.where(wanted - values[right - 1] < values[right] - wanted, right - 1, right)
        return pool[order[np.unique(nearest)]]

    def state(self) -> SearchState:
        values = {"left": self._left, "position": self._position, "rng": generator_state(self._rng)}
        return SearchState({"asked": self._asked.hashes}, values)

    def restore(self, state: SearchState) -> None:
        self._asked.restore(state.arrays["asked"])
        self._left, self._position = state.values["left"], state.values["position"]
        self._rng = restored_generator(state.values["rng"])
