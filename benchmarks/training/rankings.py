"""How well something ranks networks, held against their accuracy when trained alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from benchmarks.training.curves import LEVEL
from predictors.statistics import Estimate, Floats, estimate, kendall_tau


def mean_tau(rankings: npt.ArrayLike, truth: npt.ArrayLike) -> Estimate:
    """Kendall's tau-b of each row of `rankings` (num_rankings, num) with `truth` (num,), mean over the rows; the
    bootstrap interval resamples networks.
    """
    statistics = [kendall_tau(row, truth) for row in np.atleast_2d(np.asarray(rankings, dtype=np.float64))]

    def mean(weights: Floats) -> Floats:
        return np.mean([statistic(weights) for statistic in statistics], axis=0)

    return estimate(mean, np.size(truth), level=LEVEL, resamples=2000, seed=0)


def ceiling(truths: npt.ArrayLike) -> Estimate | None:
    """The tau between trainings of the same networks with two seeds, mean over pairs of seeds: no ranking can do much
    better. `truths` (num_seeds, num); None for one seed.
    """
    rows = np.asarray(truths, dtype=np.float64)
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows))]
    if not pairs:
        return None
    statistics = [kendall_tau(rows[i], rows[j]) for i, j in pairs]

    def mean(weights: Floats) -> Floats:
        return np.mean([statistic(weights) for statistic in statistics], axis=0)

    return estimate(mean, rows.shape[1], level=LEVEL, resamples=2000, seed=0)
