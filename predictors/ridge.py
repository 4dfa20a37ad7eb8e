"""Ridge regression on the encoding: main effects of every gene, shares of options, logarithms of the costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction

_PENALTIES = np.logspace(-3, 3, 25)


@dataclass(frozen=True)
class Ridge:
    """`mean = intercept + encodings @ weights`; the half-width is the leave-one-out error times sqrt(1 + leverage)."""

    weights: Floats  # (num_features,)
    intercept: Floats  # (1,)
    centre: Floats  # (num_features,)
    spread: Floats  # (num_features, rank): rows x_c @ spread have the leverage as their squared length
    error: Floats  # (1,) leave-one-out root mean squared error

    @classmethod
    def fit(cls, encodings: Floats, targets: Floats, groups: npt.NDArray[np.int64], *, seed: int) -> Ridge:
        """Closed form by one SVD. The penalty is the one of least leave-one-(group)-out error (Allen's PRESS)."""
        centre, intercept = encodings.mean(axis=0), float(targets.mean())
        left, singular, right = np.linalg.svd(encodings - centre, full_matrices=False)
        kept = singular > 1e-9 * max(float(singular.max(initial=0.0)), 1e-300)
        left, singular, right = left[:, kept], singular[kept], right[kept]
        residuals = np.stack([_left_out(left, singular, targets - intercept, groups, p) for p in _PENALTIES])
        errors = np.sqrt(np.mean(residuals**2, axis=1))
        best = int(np.argmin(errors))
        shrunk = singular / (singular**2 + _PENALTIES[best])
        weights = right.T @ (shrunk * (left.T @ (targets - intercept)))
        return cls(
            weights=weights,
            intercept=np.array([intercept - centre @ weights]),
            centre=centre,
            # rows side by side, as they are when read from a file: another order sums in another order
            spread=np.ascontiguousarray(right.T / np.sqrt(singular**2 + _PENALTIES[best])),
            error=np.array([max(float(errors[best]), 1e-9)]),
        )

    def predict(self, encodings: Floats) -> Prediction:
        mean = encodings @ self.weights + self.intercept
        leverage = np.sum(((encodings - self.centre) @ self.spread) ** 2, axis=1)
        half = self.error * np.sqrt(1.0 + leverage)
        return Prediction(mean=mean, lower=mean - half, upper=mean + half)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in ("weights", "intercept", "centre", "spread", "error")}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> Ridge:
        vector, single = (num_features,), (1,)
        shapes = {
            "weights": vector,
            "intercept": single,
            "centre": vector,
            "spread": (num_features, None),
            "error": single,
        }
        return cls(**take(arrays, shapes))


def _left_out(left: Floats, singular: Floats, targets: Floats, groups: npt.NDArray[np.int64], penalty: float) -> Floats:
    """Residual of every row predicted without its group (the mean is one more column of the hat matrix)."""
    num = len(targets)
    hat = (left * (singular**2 / (singular**2 + penalty))) @ left.T + 1.0 / num
    residuals = targets - hat @ targets
    if len(np.unique(groups)) == num:
        return residuals / np.maximum(1.0 - np.diag(hat), 1e-9)
    out = np.empty(num)
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        out[rows] = np.linalg.lstsq(np.eye(len(rows)) - hat[np.ix_(rows, rows)], residuals[rows], rcond=None)[0]
    return out
