"""Rank correlation and error with bootstrap intervals: how far a ranking can be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Statistic of weighted items: (num_resamples, num) integer weights -> (num_resamples,) values.
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Estimate:
    """A statistic and its percentile bootstrap interval."""

    value: float
    lower: float
    upper: float


def kendall_tau(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Statistic:
    """Kendall's tau-b of the weighted items; 0 where it is undefined (one side all ties)."""
    signs_predicted, signs_true = _signs(predicted), _signs(true)
    agreement, moved_predicted, moved_true = signs_predicted * signs_true, signs_predicted**2, signs_true**2

    def statistic(weights: Floats) -> Floats:
        concordance, pairs_predicted, pairs_true = (
            np.einsum("bi,bi->b", weights @ matrix, weights) for matrix in (agreement, moved_predicted, moved_true)
        )
        scale = np.sqrt(pairs_predicted * pairs_true)
        return np.divide(concordance, scale, out=np.zeros_like(scale), where=scale > 0)

    return statistic


def root_mean_squared_error(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Statistic:
    squares = (np.asarray(predicted, dtype=np.float64) - np.asarray(true, dtype=np.float64)) ** 2
    return lambda weights: np.sqrt(weights @ squares / weights.sum(axis=1))


def estimate(statistic: Statistic, num: int, *, level: float, resamples: int, seed: int) -> Estimate:
    """Value over `num` items, and the percentile interval of resampling them with replacement (Efron, 1979).

    Equal seeds resample equally, so that two predictors of the same records are compared on the same resamples.
    """
    value = float(statistic(np.ones((1, num)))[0])
    rng = np.random.default_rng([seed, num])
    parts = [
        statistic(rng.multinomial(num, np.full(num, 1.0 / num), size=min(250, resamples - start)).astype(np.float64))
        for start in range(0, resamples, 250)
    ]
    lower, upper = np.quantile(np.concatenate(parts), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value=value, lower=float(lower), upper=float(upper))


def conformal_scale(residuals: Floats, half_widths: Floats, *, level: float) -> float:
    """Factor on `half_widths` (num,) so that intervals cover a new residual with probability >= `level`.

    Split conformal prediction with normalised residuals (Lei et al., 2018), the finite-sample correction included. With
    too few residuals for that level the largest of them is taken.
    """
    scores = np.sort(np.abs(residuals) / half_widths)
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(scores[min(rank, len(scores)) - 1])


def _signs(values: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(values, dtype=np.float64)
    return np.sign(array[:, None] - array[None, :])
