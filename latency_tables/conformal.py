"""How far a prediction can be off: split conformal intervals from networks that a table was graded on.

With n networks that had no part in making a table, and one more like them, the ratio of measured to predicted of the
new one is at most the k-th smallest of theirs with probability k / (n + 1) at least, whatever the distribution (Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; Lei et al., JASA 2018). "Like them" means drawn at
random like them: the networks that a search picks are not, which is why winners are measured where the device is here.
And measured at the same time: devices are faster or slower at another hour. A table that keeps its validations
(`table.Later`) has the ratios of several hours; a new hour is then one more like those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from search_spaces.common.errors import UserError


@dataclass(frozen=True)
class Interval:
    """Measured / predicted lies between `low` and `high` with the stated confidence; both are factors around 1."""

    low: float
    high: float


def upper_factor(predicted: ArrayLike, measured: ArrayLike, confidence: float) -> float:
    """The factor that measured / predicted does not exceed with this confidence (one-sided).

    Raises `UserError` if there are too few networks for it: 95 % needs 19 of them.
    """
    ratios = np.sort(np.asarray(measured, dtype=np.float64) / np.asarray(predicted, dtype=np.float64))
    return float(ratios[_rank(len(ratios), confidence) - 1])


def interval(predicted: ArrayLike, measured: ArrayLike, confidence: float) -> Interval:
    """Symmetric in relative error: |measured / predicted - 1| is within it with this confidence. Raises as above."""
    errors = np.sort(np.abs(np.asarray(measured, dtype=np.float64) / np.asarray(predicted, dtype=np.float64) - 1))
    widest = float(errors[_rank(len(errors), confidence) - 1])
    return Interval(max(0.0, 1 - widest), 1 + widest)


def coverage(
    predicted: ArrayLike, measured: ArrayLike, confidence: float, *, seed: int = 0, splits: int = 200
) -> float:
    """How often the interval from one random half of the networks holds for one of the other half."""
    pairs = np.stack([np.asarray(predicted, dtype=np.float64), np.asarray(measured, dtype=np.float64)], axis=1)
    rng, shares = np.random.default_rng(0), []
    for _ in range(splits):
        shuffled = rng.permutation(pairs)
        known, new = shuffled[: len(pairs) // 2], shuffled[len(pairs) // 2 :]
        bounds = interval(known[:, 0], known[:, 1], confidence)
        ratios = new[:, 1] / new[:, 0]
        shares.append(float(np.mean((ratios >= bounds.low) & (ratios <= bounds.high))))
    return float(np.mean(shares))


def check_confidence(confidence: float, *, key: str | None = None) -> float:
    if not 0.5 <= confidence < 1:
        raise UserError("must be at least 0.5 and below 1", key=key, value=confidence, hint="Write like 0.95")
    return confidence


def _rank(num: int, confidence: float) -> int:
    check_confidence(confidence)
    rank = math.ceil((num + 1) * confidence - 1e-9)
    if rank > num:
        needed = math.ceil(confidence / (1 - confidence) - 1e-9)
        raise UserError(
            f"{confidence:.4g} confidence needs {needed} networks that the table was graded on, and there are {num}",
            hint="Ask for less confidence, or measure a table with a larger holdout",
        )
    return rank
