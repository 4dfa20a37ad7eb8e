"""From what was proposed to what is worth a real evaluation: within the limits, and nobody's yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.repair import repaired
from ofa.search.algorithms.row_set import RowSet

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

#: Spaces up to this size are listed before a study says that they hold nothing new.
_LISTED = 200_000
_ROUNDS, _NEIGHBOURS = 24, 32


def fresh_rows(
    space: SearchSpace,
    proposed: Population,
    taken: Population,
    *,
    keeps: Callable[[Population], npt.NDArray[np.bool_]],
    anchors: Population,
    rng: np.random.Generator,
    num: int = 1,
) -> Population:
    """Up to `num` distinct networks that keep the limits and are not among `taken`, closest to `proposed` first.

    A row over a limit is moved towards one of `anchors` (which keep them) until it keeps them. If too few are left,
    neighbours of what was proposed stand in, further and further away, then any network. No rows: none is left in a
    space that can be listed, or none was found in a larger one.
    """
    known = RowSet(space.num_genes)
    known.add(taken)
    found = known.add(_within(space, space.canonical(proposed), anchors, keeps, rng))[:num]
    base = proposed if len(proposed) else space.sample(_NEIGHBOURS, rng)
    for step in range(_ROUNDS):
        if len(found) >= num:
            return found
        if step < _ROUNDS // 2:
            rate = min(1.0, (step + 1) / space.num_genes)
            tried = space.mutate(base[rng.integers(len(base), size=_NEIGHBOURS)], rng, rate)
        else:
            tried = space.sample(_NEIGHBOURS, rng)
        found = np.concatenate([found, known.add(_within(space, tried, anchors, keeps, rng))])[:num]
    if len(found) < num and space.size <= _LISTED:
        everything = space.enumerate(_LISTED)
        rest = known.add(everything[keeps(everything)])
        found = np.concatenate([found, rng.permutation(rest)])[:num]
    return found


def _within(
    space: SearchSpace,
    rows: Population,
    anchors: Population,
    keeps: Callable[[Population], npt.NDArray[np.bool_]],
    rng: np.random.Generator,
) -> Population:
    kept = keeps(rows)
    if kept.all():
        return rows
    within = rows.copy()
    within[~kept] = repaired(space, rows[~kept], anchors, keeps, rng)
    return within
