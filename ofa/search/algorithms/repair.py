"""Networks brought within the limits, no further than needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


def repaired(
    space: SearchSpace,
    population: Population,
    anchors: Population,
    keeps: Callable[[Population], npt.NDArray[np.bool_]],
    rng: np.random.Generator,
) -> Population:
    """Each row, with just so many of its genes set as in one of the `anchors` that it keeps the limits.

    The genes change in random order; how many is found by bisection, so that most rows end just within the limits.
    `keeps` tells of rows whether they do; all `anchors` must.
    """
    anchor = anchors[rng.integers(len(anchors), size=len(population))]
    order = np.argsort(rng.random(population.shape), axis=1)
    turn = np.empty_like(order)
    np.put_along_axis(turn, order, np.arange(space.num_genes)[None], axis=1)

    def mixed(num_changed: npt.NDArray[np.int64]) -> Population:
        return space.canonical(np.where(turn < num_changed[:, None], anchor, population))

    low, high = np.zeros(len(population), dtype=np.int64), np.full(len(population), space.num_genes)
    while (low < high).any():
        middle = (low + high) // 2
        kept = keeps(mixed(middle))
        low, high = np.where(kept, low, np.minimum(middle + 1, high)), np.where(kept, middle, high)
    return mixed(high)
