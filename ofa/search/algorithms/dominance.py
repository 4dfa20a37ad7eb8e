"""Pareto dominance of many points at once: who is beaten by nobody, in how many layers the rest lie, who stands alone.

Points are (num, num_objectives), all minimised; one beats another if it is no worse in any objective and better in one.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

#: From so many points on, a few good ones are first used to strike out most of the rest.
_MANY, _SAMPLE, _STRONG = 4096, 2048, 24
#: Points whose layers are found together, and earlier points they are compared with at once: bounds the memory.
_BLOCK, _EARLIER = 256, 4096


def non_dominated(points: Floats) -> Positions:
    """Positions of the points that no other beats, in lexicographic order; of equal points the first."""
    places, ordered = _distinct(points, _not_struck_out(points))
    if points.shape[1] == 1:
        return places[:1]
    if points.shape[1] == 2:
        before = np.concatenate([[np.inf], np.minimum.accumulate(ordered[:, 1])[:-1]])
        return places[ordered[:, 1] < before]
    if points.shape[1] == 3:
        return places[~_beaten_3d(ordered[:, 1], ordered[:, 2])]
    front, remaining = [], np.arange(len(places))
    while len(remaining):  # the first in order is beaten by nobody after it, nor by the front so far
        first, remaining = remaining[0], remaining[1:]
        front.append(first)
        remaining = remaining[(ordered[remaining] < ordered[first]).any(axis=1)]
    return places[np.array(front, dtype=np.int64)]


def front_ranks(points: Floats) -> Positions:
    """(num,) the layer of every point: 0 for those nobody beats, 1 for those nobody else beats but they, and so on.

    The fast non-dominated sort of K. Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002),
    as the length of the longest chain of points that beat each other down to this one; equal points share a layer.
    """
    order = np.lexsort(points.T[::-1])
    first = _first_of_equals(points[order])
    ordered = points[order][first]
    if points.shape[1] == 1:
        ranks = np.arange(len(ordered))
    elif points.shape[1] == 2:
        ranks = _ranks_2d(ordered[:, 1])
    else:
        ranks = _ranks_of_chains(ordered[:, 1:])
    result = np.empty(len(points), dtype=np.int64)
    result[order] = ranks[np.cumsum(first) - 1]
    return result


def constrained_ranks(points: Floats, violation: Floats) -> Positions:
    """Layers under constraint domination (Deb et al., 2002): whoever keeps the limits comes before whoever does not,
    and of those the one that breaks them less.
    """
    kept = violation == 0
    ranks = np.empty(len(points), dtype=np.int64)
    ranks[kept] = front_ranks(points[kept]) if kept.any() else 0
    behind = int(ranks[kept].max(initial=-1)) + 1
    ranks[~kept] = behind + np.unique(violation[~kept], return_inverse=True)[1]
    return ranks


def crowding(points: Floats, ranks: Positions) -> Floats:
    """(num,) the crowding distance (Deb et al., 2002) of every point among those of its layer; infinite at the ends."""
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.lexsort((values, ranks))
        sorted_values, layers = values[order], ranks[order]
        starts = np.flatnonzero(np.diff(layers, prepend=layers[0] - 1)) if len(layers) else layers
        ends = np.append(starts[1:], len(layers)) - 1
        span = np.repeat(sorted_values[ends] - sorted_values[starts], ends - starts + 1)
        gap = np.zeros(len(points))
        gap[1:-1] = sorted_values[2:] - sorted_values[:-2]
        gap = np.divide(gap, span, out=np.zeros(len(points)), where=span > 0)
        gap[starts] = gap[ends] = np.inf
        distance[order] += gap
    return distance


def _not_struck_out(points: Floats) -> Positions:
    """Positions, ascending, of all points but (of many) most of those that are beaten."""
    remaining = np.arange(len(points))
    if len(points) < _MANY or points.shape[1] == 1:
        return remaining
    sample = points[:: -(-len(points) // _SAMPLE)]
    good = sample[non_dominated(sample)]
    strong = good[np.linspace(0, len(good) - 1, min(_STRONG, len(good))).astype(np.int64)]
    for one in strong:
        left = points[remaining]
        no_better = (left >= one).all(axis=1)
        remaining = remaining[~(no_better & (left > one).any(axis=1))]
    return remaining


def _distinct(points: Floats, places: Positions) -> tuple[Positions, Floats]:
    """Those places of distinct points, in lexicographic order, and the points; of equal ones the first place."""
    places = places[np.lexsort(points[places].T[::-1])]  # stable
    ordered = points[places]
    first = _first_of_equals(ordered)
    return places[first], ordered[first]


def _first_of_equals(ordered: Floats) -> npt.NDArray[np.bool_]:
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return first


def _beaten_3d(second: Floats, third: Floats) -> npt.NDArray[np.bool_]:
    """Of distinct points in lexicographic order: whether an earlier one is no worse in the second and the third.

    Divide and conquer from the bottom up (H. T. Kung, F. Luccio, F. P. Preparata, "On finding the maxima of a set of
    vectors", 1975): within every pair of neighbouring blocks, sorted by the second, the least third so far of the
    earlier block decides. All pairs of one size are a few array operations; no case is worse than n log^2 n.
    """
    num = len(second)
    width = 1 << max(num - 1, 0).bit_length()
    y, z, place = np.full(width, np.inf), np.full(width, np.inf), np.arange(width)
    y[:num], z[:num] = second, third
    beaten = np.zeros(width, dtype=bool)
    size = 1
    while size < width:
        shape = (-1, 2 * size)
        order = np.argsort(y.reshape(shape), axis=1, kind="stable")  # on ties the earlier block comes first
        earlier = (order < size).ravel()
        order = (order + np.arange(0, width, 2 * size)[:, None]).ravel()
        y, z, place = y[order], z[order], place[order]
        least = np.minimum.accumulate(np.where(earlier, z, np.inf).reshape(shape), axis=1).ravel()
        beaten[place[~earlier & (least <= z)]] = True
        size *= 2
    return beaten[:num]


def _ranks_2d(second: Floats) -> Positions:
    """Of distinct points in lexicographic order: the first layer whose last point, its best so far in the second, is
    worse in it.
    """
    last: list[float] = []
    ranks = np.empty(len(second), dtype=np.int64)
    for number, value in enumerate(second.tolist()):
        rank = bisect_right(last, value)
        last[rank : rank + 1] = [value]
        ranks[number] = rank
    return ranks


def _ranks_of_chains(others: Floats) -> Positions:
    """The same for any number of `others` than the first objective: one more than the layer of whoever beats it."""
    num = len(others)
    ranks = np.zeros(num, dtype=np.int32)
    for start in range(0, num, _BLOCK):
        block = others[start : start + _BLOCK]
        own = np.zeros(len(block), dtype=np.int32)
        for begin in range(0, start, _EARLIER):
            end = min(begin + _EARLIER, start)
            beats = _no_worse(others[begin:end], block)
            np.maximum(own, (beats * (ranks[begin:end, None] + 1)).max(axis=0), out=own)
        beats = np.triu(_no_worse(block, block), 1)
        for number in range(1, len(block)):
            by = beats[:number, number]
            if by.any():
                own[number] = max(own[number], int(own[:number][by].max()) + 1)
        ranks[start : start + len(block)] = own
    return ranks.astype(np.int64)


def _no_worse(some: Floats, than: Floats) -> npt.NDArray[np.bool_]:
    """(len(some), len(than)): who is no worse than whom."""
    result = some[:, 0, None] <= than[None, :, 0]
    for column in range(1, some.shape[1]):
        result &= some[:, column, None] <= than[None, :, column]
    return result
