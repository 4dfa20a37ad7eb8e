"""Gradient boosting of regression trees: fitted by scikit-learn, kept as plain arrays, predicting with numpy alone.

Friedman, "Stochastic gradient boosting" (2002). The interval is as wide as the error of rows (or groups) left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction
from predictors.folds import fold_numbers

if TYPE_CHECKING:
    from sklearn.ensemble import GradientBoostingRegressor

    from predictors.features import Blocks

_TREES, _DEPTH, _RATE, _SHARE, _COLUMNS = 150, 3, 0.07, 0.7, 0.3
_FOLDS = 4


@dataclass(frozen=True)
class Boosting:
    """T trees of at most N nodes each. A leaf is a node whose children are itself."""

    feature: Floats  # (T, N) whole numbers, like `left` and `right`
    threshold: Floats  # (T, N) `x[feature] <= threshold`, x rounded to float32, goes left
    left: Floats  # (T, N)
    right: Floats  # (T, N)
    value: Floats  # (T, N) what a leaf adds
    scalars: Floats  # (2,) where the sum starts; root mean squared error of rows left out

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> Boosting:
        residuals = np.empty(len(targets))
        fold_of = fold_numbers(groups, _FOLDS, seed=seed)
        for fold in range(_FOLDS):
            inside = fold_of == fold
            if inside.any() and not inside.all():
                part = _fitted(encodings[~inside], targets[~inside], seed)
                residuals[inside] = targets[inside] - part.predict(encodings[inside])
            elif inside.any():
                residuals[inside] = targets[inside] - targets.mean()
        error = max(float(np.sqrt(np.mean(residuals**2))), 1e-9)
        return _plain(_fitted(encodings, targets, seed), encodings.shape[1], error)

    def predict(self, encodings: Floats) -> Prediction:
        rounded = np.asarray(encodings, dtype=np.float32)  # as scikit-learn compares
        rows = np.arange(len(rounded))
        mean = np.full(len(rounded), self.scalars[0])
        whole = (part.astype(np.intp) for part in (self.feature, self.left, self.right))
        for feature, left, right, threshold, value in zip(*whole, self.threshold, self.value, strict=True):
            node = np.zeros(len(rounded), dtype=np.intp)
            for _ in range(_DEPTH):
                node = np.where(rounded[rows, feature[node]] <= threshold[node], left[node], right[node])
            mean += value[node]
        return Prediction(mean=mean, lower=mean - self.scalars[1], upper=mean + self.scalars[1])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in _shapes(0, 0)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> Boosting:
        trees, nodes = arrays["value"].shape if "value" in arrays and arrays["value"].ndim == 2 else (0, 0)
        checked = take(arrays, _shapes(trees, nodes))
        for name, limit in (("feature", num_features), ("left", nodes), ("right", nodes)):
            numbers = checked[name]
            if (numbers != np.floor(numbers)).any() or (numbers < 0).any() or (numbers >= limit).any():
                raise ValueError(f"array {name!r} does not hold whole numbers in 0..{limit - 1}")
        return cls(**checked)


def _shapes(trees: int, nodes: int) -> dict[str, tuple[int, ...]]:
    names = ("feature", "threshold", "left", "right", "value")
    return {**dict.fromkeys(names, (trees, nodes)), "scalars": (2,)}


def _fitted(encodings: Floats, targets: Floats, seed: int) -> GradientBoostingRegressor:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=_TREES,
        max_depth=_DEPTH,
        learning_rate=_RATE,
        subsample=_SHARE if len(targets) >= 20 else 1.0,
        max_features=_COLUMNS,
        random_state=seed % 2**32,
    )
    return model.fit(encodings, targets)


def _plain(model: GradientBoostingRegressor, num_features: int, error: float) -> Boosting:
    """scikit-learn's trees, padded to one number of nodes."""
    trees = [estimator.tree_ for estimator in model.estimators_[:, 0]]
    nodes = max(tree.node_count for tree in trees)
    arrays = {name: np.zeros((len(trees), nodes)) for name in ("feature", "threshold", "left", "right", "value")}
    for number, tree in enumerate(trees):
        leaf = tree.children_left < 0
        own, used = np.arange(tree.node_count), slice(0, tree.node_count)
        arrays["feature"][number, used] = np.where(leaf, 0, tree.feature)
        arrays["threshold"][number, used] = np.where(leaf, 0.0, tree.threshold)
        arrays["left"][number, used] = np.where(leaf, own, tree.children_left)
        arrays["right"][number, used] = np.where(leaf, own, tree.children_right)
        arrays["value"][number, used] = model.learning_rate * tree.value[:, 0, 0]
    start = float(np.ravel(model.init_.predict(np.zeros((1, num_features))))[0])
    return Boosting(**arrays, scalars=np.array([start, error]))
