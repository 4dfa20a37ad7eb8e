"""An accuracy predictor: the k nearest of the networks that are known, weighted by their distance.

Distances are between encodings, which hold what every gene takes (one-hot) and how large the network is. k is chosen by
leaving one network out in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction
from predictors.features import Blocks

_CANDIDATES = (1, 2, 3, 5, 8, 12)


@dataclass(frozen=True)
class NearestNeighbours:
    """n records over F features; all state is arrays, which is all there is to saving it."""

    inputs: Floats  # (n, F)
    targets: Floats  # (n,)
    num_neighbours: Floats  # (1,) a whole number: what is saved is floats

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> NearestNeighbours:
        """Records of one group (the same network) are left out together when k is chosen."""
        distances = _distances(encodings, encodings)
        distances[groups[:, None] == groups[None]] = np.inf
        errors = {}
        for k in _CANDIDATES:
            if k < len(np.unique(groups)):
                mean, _ = _average(distances, targets, k)
                errors[k] = float(np.abs(mean - targets).mean())
        best = min(errors, key=lambda k: errors[k]) if errors else 1
        return cls(encodings.copy(), targets.copy(), np.array([best], dtype=np.float64))

    def predict(self, encodings: npt.NDArray[Any]) -> Prediction:
        """Means, and the spread of the neighbours as the half-width of intervals (their scale is calibrated later)."""
        distances = _distances(encodings, self.inputs)
        mean, spread = _average(distances, self.targets, int(self.num_neighbours[0]))
        typical = float(self.targets.std()) if len(self.targets) > 1 else 1.0
        half = np.sqrt(spread**2 + (0.1 * typical) ** 2) + 1e-9
        return Prediction(mean=mean, lower=mean - half, upper=mean + half)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"inputs": self.inputs, "targets": self.targets, "num_neighbours": self.num_neighbours}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> NearestNeighbours:
        num = len(arrays["targets"]) if "targets" in arrays and arrays["targets"].ndim == 1 else 0
        shapes: dict[str, tuple[int | None, ...]] = {
            "inputs": (num, num_features),
            "targets": (num,),
            "num_neighbours": (1,),
        }
        checked = take(arrays, shapes)
        k = float(checked["num_neighbours"][0])
        if not 1 <= k <= num or k != int(k):
            raise ValueError(f"array 'num_neighbours' holds {k} for {num} records")
        return cls(checked["inputs"], checked["targets"], checked["num_neighbours"])


def _distances(first: Floats, second: Floats) -> Floats:
    """(n, m) squared Euclidean distances."""
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    return np.maximum(squares, 0.0)


def _average(distances: Floats, targets: Floats, k: int) -> tuple[Floats, Floats]:
    """Weighted mean and standard deviation of the k nearest, and of all that are as near; infinitely far ones have no
    weight.
    """
    k = min(k, distances.shape[1])
    farthest = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    weights = (distances <= farthest * (1 + 1e-9)) / (np.sqrt(distances) + 1e-6)
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ targets
    return mean, np.sqrt((weights * (targets - mean[:, None]) ** 2).sum(axis=1))
