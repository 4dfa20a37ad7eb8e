"""Which range a value is quantised over, chosen from a histogram of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latency_tables.cortex_m.quantization import HIGH, LOW, Floats

Ends = tuple[float, float]

#: parts of a range, on either side of zero, that are tried as its end: first these, then so many times the best
_PARTS = np.geomspace(0.02, 1.0, 17)
_AROUND = np.geomspace(0.8, 1.25, 9)


@dataclass(frozen=True, eq=False)
class Histogram:
    """`counts` of values in bins of the same width from `low` to `high`."""

    low: float
    high: float
    counts: Floats

    @property
    def edges(self) -> Floats:
        return np.linspace(self.low, self.high, len(self.counts) + 1)


def percentile_range(histogram: Histogram, percentile: float) -> Ends:
    """So many per cent of the values are at most the upper end, and as many at least the lower."""
    below = np.concatenate(([0.0], np.cumsum(histogram.counts)))
    rare = (1 - percentile / 100) * below[-1]
    low, high = np.interp([rare, below[-1] - rare], below, histogram.edges)
    return float(low), float(high)


def least_error_range(histogram: Histogram, function: Callable[[Floats], Floats] | None = None) -> Ends:
    """The ends with the least mean squared error of the values as quantised, or of `function` of them."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    values = (histogram.edges[1:] + histogram.edges[:-1]) / 2
    there = histogram.counts > 0
    values, counts = values[there], histogram.counts[there]
    best = low, high
    for parts in (_PARTS, _AROUND):
        lows, highs = (end * parts if end else np.zeros(1) for end in best)
        tried = np.stack(np.meshgrid(lows.clip(low), highs.clip(max=high)), axis=-1).reshape(-1, 2)
        errors = _errors(tried, values, counts, function or (lambda x: x))
        found_low, found_high = tried[errors.argmin()]
        best = float(found_low), float(found_high)
    return best


def _errors(ends: NDArray[np.float64], values: Floats, counts: Floats, function: Callable[[Floats], Floats]) -> Floats:
    """(R,) sums of squared errors over the ranges `ends` (R, 2), each with 0 in it; quantised as `Affine` does."""
    scales = np.maximum(ends[:, 1:] - ends[:, :1], 1e-6) / (HIGH - LOW)
    zeros = np.rint(LOW - ends[:, :1] / scales).clip(LOW, HIGH)
    quantized = (np.floor(values / scales + 0.5) + zeros).clip(LOW, HIGH)
    difference = function(scales * (quantized - zeros)) - function(values)
    return (difference**2) @ counts
