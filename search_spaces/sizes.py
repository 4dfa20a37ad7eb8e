"""Networks by their size: places on the logarithm of MACs, and networks at given places."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from search_spaces.genome import Population
from search_spaces.space import SearchSpace

Floats = NDArray[np.float64]


class SizeScale:
    """The scale of sizes of a space: 0 is its smallest network, 1 its largest, between them the logarithm of MACs."""

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._macs = space.cost("macs")

    def places(self, population: Population) -> Floats:
        """(num,) places in 0..1 of the rows of `population`."""
        low, high = self._ends
        if high == low:
            return np.ones(len(population))
        return np.clip((np.log(self._macs.evaluate(population)) - low) / (high - low), 0.0, 1.0)

    def pool(self, rng: np.random.Generator, *, num: int) -> Population:
        """Networks over the whole range of sizes; see `wide_pool`."""
        return wide_pool(self.space, self._macs.minimum()[1], self._macs.maximum()[1], rng, num=num)

    def nearest(self, place: float, pool: Population, *, num: int = 1) -> Population:
        """The `num` rows of `pool` nearest to `place` (all of them if it has fewer), the nearest first."""
        return pool[np.argsort(np.abs(self.places(pool) - place), kind="stable")[:num]]

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return float(np.log(self._macs.minimum()[0])), float(np.log(self._macs.maximum()[0]))


def wide_pool(
    space: SearchSpace,
    smallest: NDArray[np.int64],
    largest: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    num: int,
    at_least: int = 1,
) -> Population:
    """Distinct networks over the whole range of sizes, in random order: `num` random ones, drawn by stages towards both
    ends, so up to 9 times `num` in all. Where a tiny space has fewer than `at_least`, some are there twice.
    """
    centre = space.sample(num, rng)
    pools = [centre]
    for end in (smallest, largest):
        rows = centre
        for _ in range(4):
            rows = space.crossover(rows, np.broadcast_to(end, rows.shape).copy(), rng)
            pools.append(rows)
    pool = np.unique(np.concatenate(pools), axis=0)
    missing = max(0, at_least - len(pool))
    pool = np.concatenate([pool, pool[rng.integers(len(pool), size=missing)]])
    return np.asarray(pool[rng.permutation(len(pool))])
