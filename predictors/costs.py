"""What size alone says: a parabola through the logarithms of MACs, parameters and depth. Others must beat this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction
from predictors.ridge import Ridge

if TYPE_CHECKING:
    from predictors.features import Blocks

#: blocks of the encoding that are looked at
_BLOCKS = ("macs", "costs")


@dataclass(frozen=True)
class Costs:
    """A ridge regression on `columns` of the encoding, between `low` and `high`, and their squares."""

    columns: Floats  # (C,) whole numbers
    low: Floats  # (C,) the range of the records: beyond it a parabola may fall again, so it is held there
    high: Floats  # (C,)
    ridge: Ridge

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> Costs:
        """Without `blocks` all columns are taken for costs."""
        every = np.arange(encodings.shape[1])
        known = [every[blocks[name]] for name in _BLOCKS if name in blocks] if blocks is not None else [every]
        columns = np.concatenate(known)
        low, high = encodings[:, columns].min(axis=0), encodings[:, columns].max(axis=0)
        ridge = Ridge.fit(_powers(encodings, columns, low, high), targets, groups, seed=seed)
        return cls(columns.astype(np.float64), low, high, ridge)

    def predict(self, encodings: Floats) -> Prediction:
        return self.ridge.predict(_powers(encodings, self.columns.astype(np.int64), self.low, self.high))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own = {"columns": self.columns, "low": self.low, "high": self.high}
        return {**own, **{f"ridge_{name}": array for name, array in self.ridge.arrays().items()}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> Costs:
        inner = {name.removeprefix("ridge_"): array for name, array in arrays.items() if name.startswith("ridge_")}
        outer = {name: array for name, array in arrays.items() if not name.startswith("ridge_")}
        num = len(outer["columns"]) if "columns" in outer and outer["columns"].ndim == 1 else 0
        checked = take(outer, dict.fromkeys(("columns", "low", "high"), (num,)))
        columns = checked["columns"]
        if (columns != np.floor(columns)).any() or (columns < 0).any() or (columns >= num_features).any():
            raise ValueError(f"array 'columns' does not hold whole numbers in 0..{num_features - 1}")
        return cls(**checked, ridge=Ridge.from_arrays(inner, num_features=2 * num))


def _powers(encodings: Floats, columns: npt.NDArray[np.int64], low: Floats, high: Floats) -> Floats:
    held = np.clip(encodings[:, columns], low, high)
    return np.concatenate([held, held**2], axis=1)
