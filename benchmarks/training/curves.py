"""Accuracy over MACs as one number, and differences of accuracies with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from predictors.statistics import Estimate

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
_RESAMPLES = 4000


def trapezoid_weights(macs: npt.ArrayLike) -> Floats:
    """(num,) weights, of sum 1, such that the weighted sum of accuracies is their mean over log MACs: the area under
    the piecewise linear curve through the points, divided by the range of log MACs. `macs` in any order.
    """
    places = np.log(np.asarray(macs, dtype=np.float64))
    order = np.argsort(places, kind="stable")
    gaps = np.diff(places[order])
    assert gaps.sum() > 0, "a curve needs two sizes"
    weights = np.zeros(len(places))
    weights[order[:-1]] += gaps / 2
    weights[order[1:]] += gaps / 2
    return weights / gaps.sum()


def area(macs: npt.ArrayLike, accuracies: npt.ArrayLike) -> float:
    """The area under accuracy over log MACs, as a mean accuracy."""
    return float(trapezoid_weights(macs) @ np.asarray(accuracies, dtype=np.float64))


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """Mean of independent trainings, and Student's interval for it (of one training: the value itself)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Estimate(mean, mean, mean)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Estimate(mean, mean - half, mean + half)


def difference(first: npt.ArrayLike, second: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Estimate:
    """Weighted mean over architectures of (mean of `first` over its seeds - mean of `second` over its seeds).

    `first` and `second` are (num_seeds, num_architectures), each with its own number of seeds, of the same
    architectures in the same order; `weights` (num_architectures,), left out: equal ones. The percentile bootstrap
    interval resamples architectures (the same for both) and the seeds of each side: what another choice would give.
    Of a side with one seed, it knows nothing of what another seed would do.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    num = a.shape[1]
    fixed = np.ones(num) if weights is None else np.asarray(weights, dtype=np.float64)
    value = float(fixed @ (a.mean(axis=0) - b.mean(axis=0)) / fixed.sum())
    rng = np.random.default_rng([0, num])
    chosen = _multiplicities(num, rng) * fixed
    means_a, means_b = (_multiplicities(len(x), rng) @ x / len(x) for x in (a, b))
    values = (chosen * (means_a - means_b)).sum(axis=1) / chosen.sum(axis=1)
    lower, upper = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(lower), float(upper))


def _multiplicities(num: int, rng: np.random.Generator) -> Floats:
    """(resamples, num): how often each of `num` items is drawn."""
    return rng.multinomial(num, np.full(num, 1 / num), size=_RESAMPLES).astype(np.float64)
