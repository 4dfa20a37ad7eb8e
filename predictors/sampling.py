"""The list of networks to record: fixed by the space and the seed, so that asking for more only appends to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from predictors.settings import Sampling
from search_spaces.sizes import wide_pool

if TYPE_CHECKING:
    from search_spaces import SearchSpace

Rows = npt.NDArray[np.int64]

#: Up to this many networks, the list is a shuffle of all of them.
_LISTED = 20_000
_BLOCK = 64

#: Networks in a group of nested entries, and up to which share of the MACs of the largest network its members have
#: everything in common: all of them, each half, each quarter (a pair).
GROUP = 8
_COMMON = (0.45, 0.7, 0.85)
_TRIES = 8


def record_list(space: SearchSpace, num: int, *, seed: int, sampling: Sampling) -> Rows:
    """The first `num` distinct networks of the list (or the whole space): smallest, largest, then samples.

    The list depends on the space, `seed` and `sampling` alone; entry i is the same for every `num` > i. Stratified
    entries spread evenly over the logarithm of the MACs, where uniform ones crowd in the middle. Nested ones spread
    alike, in groups of 8 whose first layers are equal.
    """
    return np.concatenate(record_groups(space, num, seed=seed, sampling=sampling))


def record_groups(space: SearchSpace, num: int, *, seed: int, sampling: Sampling) -> list[Rows]:
    """The same list, cut where networks cease to have much in common: each alone, unless the sampling is nested.

    A larger `num` appends groups and at most completes the last one.
    """
    num = min(num, space.size)
    chosen = _Distinct()
    chosen.add(_alone(np.stack([space.smallest(), space.largest()])))
    if sampling == "uniform" and space.size <= _LISTED:
        chosen.add(_shuffled(space, seed))
    draw = _SAMPLINGS[sampling](space)
    block = 0
    while len(chosen) < num:
        before = len(chosen)
        chosen.add(draw(block, np.random.default_rng([seed, block])))
        block += 1
        if len(chosen) == before and space.size <= _LISTED:  # what is left is rare: take it in a shuffled order
            chosen.add(_shuffled(space, seed))
    return chosen.groups(num)


def _shuffled(space: SearchSpace, seed: int) -> list[Rows]:
    rows = space.enumerate(_LISTED)
    return _alone(rows[np.random.default_rng([seed]).permutation(len(rows))])


def _alone(rows: Rows) -> list[Rows]:
    return list(rows[:, None])


class _Uniform:
    """Draws blocks uniform over distinct networks."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space

    def __call__(self, block: int, rng: np.random.Generator) -> list[Rows]:
        return _alone(self._space.sample(_BLOCK, rng))


class _Stratified:
    """Draws blocks whose log MACs follow a low-discrepancy sequence, each entry the nearest of a pool of networks."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._macs = space.cost("macs")
        self._extremes = self._macs.minimum(), self._macs.maximum()

    def __call__(self, block: int, rng: np.random.Generator) -> list[Rows]:
        return _alone(self.rows(block, rng))

    def rows(self, block: int, rng: np.random.Generator) -> Rows:
        (low, smallest), (high, largest) = self._extremes
        pool = wide_pool(self._space, smallest, largest, rng, num=4 * _BLOCK, at_least=_BLOCK)
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


class _Nested:
    """Cuts stratified blocks into groups of about one size, and gives the members of a group genes in common."""

    def __init__(self, space: SearchSpace) -> None:
        self._space, self._macs = space, space.cost("macs")
        self._stratified = _Stratified(space)
        shares = np.cumsum(self._macs.contributions(space.largest()[None])[0])
        shares /= shares[-1]
        self._first = [self._genes(int(np.sum(shares <= share))) for share in _COMMON]

    def _genes(self, num_slots: int) -> Rows:
        """The genes that the first slots read."""
        return np.array(sorted({gene for genes in self._macs.genes[:num_slots] for gene in genes}), dtype=np.int64)

    def __call__(self, block: int, rng: np.random.Generator) -> list[Rows]:
        space, rows = self._space, self._stratified.rows(block, rng)
        order = np.argsort(self._macs.evaluate(rows), kind="stable").reshape(-1, GROUP)
        # a gene that is off has no option of its own, and may be switched on by one that is copied
        rows = np.where(space.active(rows), rows, rng.integers(space.genome.num_options, size=rows.shape))
        return [self._group(rows[rng.permutation(members)], rng) for members in rng.permutation(order)]

    def _group(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """One group: rows copied from row to row, by eights, by fours, by pairs; what is not copied all different."""
        space, sizes = self._space, (GROUP, GROUP // 2, GROUP // 4)
        for _ in range(_TRIES):
            for genes, size in reversed(list(zip(self._first, sizes, strict=True))):
                leaders = np.arange(GROUP) // size * size
                rows[:, genes] = rows[np.ix_(leaders, genes)]
            canonical = space.canonical(rows)
            _, first = np.unique(canonical, axis=0, return_index=True)
            again = np.setdiff1d(np.arange(GROUP), first)
            rows[again] = rng.integers(space.genome.num_options, size=(len(again), space.num_genes))
        return canonical


_SAMPLINGS: dict[Sampling, type[_Uniform] | type[_Stratified] | type[_Nested]] = {
    "uniform": _Uniform,
    "stratified": _Stratified,
    "nested": _Nested,
}


class _Distinct:
    """Rows in the order of their first appearance, with the groups they came in."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()
        self._groups: list[list[Rows]] = []

    def add(self, groups: Sequence[Rows]) -> None:
        for group in groups:
            new = []
            for row in np.ascontiguousarray(group, dtype=np.int64):
                if row.tobytes() not in self._seen:
                    self._seen.add(row.tobytes())
                    new.append(row)
            if new:
                self._groups.append(new)

    def groups(self, num: int) -> list[Rows]:
        """The groups of the first `num` rows."""
        kept: list[Rows] = []
        for group in self._groups:
            if num > 0:
                kept.append(np.stack(group[:num]))
            num -= len(group)
        return kept

    def __len__(self) -> int:
        return len(self._seen)
