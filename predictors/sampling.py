"""The list of networks to record: fixed by the space and the seed, so that asking for more only appends to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Rows = npt.NDArray[np.int64]

#: Up to this many networks, the list is a shuffle of all of them.
_LISTED = 20_000
_BLOCK = 64


def record_list(space: SearchSpace, num: int, *, seed: int, sampling: Literal["uniform", "stratified"]) -> Rows:
    """The first `num` distinct networks of the list (or the whole space): smallest, largest, then samples.

    The list depends on the space, `seed` and `sampling` alone; entry i is the same for every `num` > i. Stratified
    entries spread evenly over the logarithm of the MACs, where uniform ones crowd in the middle.
    """
    num = min(num, space.size)
    chosen = _Distinct(space.num_genes)
    chosen.add(np.stack([space.smallest(), space.largest()]))
    if sampling == "uniform" and space.size <= _LISTED:
        rows = space.enumerate(_LISTED)
        chosen.add(rows[np.random.default_rng([seed]).permutation(len(rows))])
    draw = _draw_uniform if sampling == "uniform" else _Stratified(space)
    block = 0
    while len(chosen) < num:
        before = len(chosen)
        chosen.add(draw(space, block, np.random.default_rng([seed, block])))
        block += 1
        if len(chosen) == before and space.size <= _LISTED:  # what is left is rare: take it in a shuffled order
            rows = space.enumerate(_LISTED)
            chosen.add(rows[np.random.default_rng([seed]).permutation(len(rows))])
    return chosen.rows()[:num]


def _draw_uniform(space: SearchSpace, block: int, rng: np.random.Generator) -> Rows:
    return space.sample(_BLOCK, rng)


class _Stratified:
    """Draws blocks whose log MACs follow a low-discrepancy sequence, each entry the nearest of a pool of networks."""

    def __init__(self, space: SearchSpace) -> None:
        self._macs = space.cost("macs")
        self._extremes = self._macs.minimum(), self._macs.maximum()

    def __call__(self, space: SearchSpace, block: int, rng: np.random.Generator) -> Rows:
        (low, smallest), (high, largest) = self._extremes
        pool = _wide_pool(space, smallest, largest, rng)
        sizes = np.log(self._macs.evaluate(pool))
        golden = (np.sqrt(5) - 1) / 2
        places = (0.5 + golden * np.arange(block * _BLOCK, (block + 1) * _BLOCK)) % 1.0
        wanted = np.log(low) + places * (np.log(high) - np.log(low))
        free = np.ones(len(pool), dtype=bool)
        rows = []
        for target in wanted:
            nearest = int(np.argmin(np.where(free, np.abs(sizes - target), np.inf)))
            free[nearest] = False
            rows.append(pool[nearest])
        return np.stack(rows)


def _wide_pool(space: SearchSpace, smallest: Rows, largest: Rows, rng: np.random.Generator) -> Rows:
    """Distinct networks over the whole range of sizes: random ones, drawn by stages towards both ends."""
    centre = space.sample(4 * _BLOCK, rng)
    pools = [centre]
    for end in (smallest, largest):
        rows = centre
        for _ in range(4):
            rows = space.crossover(rows, np.broadcast_to(end, rows.shape).copy(), rng)
            pools.append(rows)
    pool = np.unique(np.concatenate(pools), axis=0)
    missing = max(0, _BLOCK - len(pool))  # a tiny space: repeat, the caller keeps distinct ones
    pool = np.concatenate([pool, pool[rng.integers(len(pool), size=missing)]])
    return np.asarray(pool[rng.permutation(len(pool))])


class _Distinct:
    """Rows in the order of their first appearance."""

    def __init__(self, num_genes: int) -> None:
        self._seen: dict[bytes, Rows] = {}
        self._num_genes = num_genes

    def add(self, rows: Rows) -> None:
        for row in np.ascontiguousarray(rows, dtype=np.int64):
            self._seen.setdefault(row.tobytes(), row)

    def rows(self) -> Rows:
        return np.stack(list(self._seen.values()))

    def __len__(self) -> int:
        return len(self._seen)
