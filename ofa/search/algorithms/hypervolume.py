"""Hypervolume: the volume that a set of points dominates, up to a reference point (E. Zitzler, L. Thiele, 1998).

In two and three dimensions by a sweep; in more by slicing off one objective after the other (HSO: L. While et al., "A
faster algorithm for calculating hypervolume", 2006), which is exact too but grows quickly with their number.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.dominance import non_dominated

Floats = npt.NDArray[np.float64]


def hypervolume(points: Floats, reference: npt.ArrayLike) -> float:
    """Of `points` (num, num_objectives), all maximised, above `reference` (num_objectives,), which is worse in all.

    Points that are not better than the reference in every objective add nothing.
    """
    gains = np.asarray(points, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    gains = gains[(gains > 0).all(axis=1)]
    return _volume(gains[non_dominated(-gains)]) if len(gains) else 0.0


def _volume(gains: Floats) -> float:
    """The union of the boxes from 0 to each of `gains`, all positive."""
    if gains.shape[1] == 1:
        return float(gains.max(initial=0.0))
    gains = gains[np.argsort(-gains[:, -1], kind="stable")]  # slices from the top down: each holds the points above it
    heights = gains[:, -1] - np.append(gains[1:, -1], 0.0)
    if gains.shape[1] == 2:
        return float(np.maximum.accumulate(gains[:, 0]) @ heights)
    if gains.shape[1] == 3:
        return _swept(gains, heights)
    total = 0.0
    for number in np.flatnonzero(heights > 0):
        above = gains[: number + 1, :-1]
        total += float(heights[number]) * _volume(above[non_dominated(-above)])
    return total


def _swept(gains: Floats, heights: Floats) -> float:
    """Three objectives: the area that grows point by point is kept as a staircase of first and second objectives."""
    firsts, seconds = [0.0, np.inf], [np.inf, 0.0]  # firsts ascend, seconds descend; the ends are sentinels
    area = total = 0.0
    for (first, second, _), height in zip(gains.tolist(), heights.tolist(), strict=True):
        right = bisect_left(firsts, first)
        if seconds[right] < second:
            left = right
            while seconds[left - 1] <= second:
                left -= 1
            step = firsts[left - 1]
            for number in range(left, right):  # what these steps held, each up to its own height, is covered now
                area += (firsts[number] - step) * (second - seconds[number])
                step = firsts[number]
            area += (first - step) * (second - seconds[right])
            firsts[left:right], seconds[left:right] = [first], [second]
        total += area * height
    return total
