"""From sums of operators to latencies of networks, and how far off the result is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: an operator keeps at least this share of its time, whatever is taken off it
LEAST_SHARE = 0.02


@dataclass(frozen=True)
class Line:
    """Latency of a network in ms = `slope` x sum of its operators + `constant_ms` (negative where neighbours share)."""

    slope: float = 1.0
    constant_ms: float = 0.0

    def __call__(self, sums_ms: ArrayLike) -> NDArray[np.float64]:
        return self.slope * np.asarray(sums_ms, dtype=np.float64) + self.constant_ms


@dataclass(frozen=True)
class Errors:
    """Of predictions on networks that had no part in making them: mean absolute relative error, share of the networks
    within 10 %, and Kendall's rank correlation (tau-b; None for fewer than two distinct values)."""

    mape: float
    share_within_10: float
    kendall_tau: float | None


def fit_line(sums_ms: ArrayLike, measured_ms: ArrayLike, *, least_ms: float) -> Line:
    """The line with the least relative error, robust against single disturbed measurements (soft L1 beyond 2 %).

    The slope is positive, and a constant below zero takes at most half of `least_ms`, the least sum of any network:
    none is predicted at zero or less.
    """
    from scipy.optimize import least_squares  # half a second to import, and reading a table must not pay for it

    sums, measured = np.asarray(sums_ms, dtype=np.float64), np.asarray(measured_ms, dtype=np.float64)
    if len(np.unique(sums)) < 2:
        return Line(slope=float(np.median(measured / sums))) if len(sums) else Line()

    def relative(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        slope, shift = parameters
        residuals: NDArray[np.float64] = slope * (sums + shift * least_ms) / measured - 1
        return residuals

    start = [float(np.median(measured / sums)), 0.0]
    scale = [start[0], 1.0]
    bounds = ([1e-3 * start[0], -0.5], [np.inf, np.inf])
    slope, shift = least_squares(relative, start, bounds=bounds, loss="soft_l1", f_scale=0.02, x_scale=scale).x
    return Line(slope=float(slope), constant_ms=float(slope * shift * least_ms))


def prediction_errors(predicted_ms: ArrayLike, measured_ms: ArrayLike) -> Errors:
    predicted, measured = np.asarray(predicted_ms, dtype=np.float64), np.asarray(measured_ms, dtype=np.float64)
    relative = np.abs(predicted / measured - 1)
    return Errors(
        mape=float(relative.mean()),
        share_within_10=float((relative <= 0.1).mean()),
        kendall_tau=kendall_tau(predicted, measured),
    )


def kendall_tau(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Kendall's tau-b; None where one side has no two distinct values. For some hundreds of values: it compares all
    pairs.
    """
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]
    scale = np.sqrt(np.square(signs[0]).sum() * np.square(signs[1]).sum())
    return float((signs[0] * signs[1]).sum() / scale) if scale > 0 else None
