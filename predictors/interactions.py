"""Ridge regression with main effects, and with those products of two columns that pay for themselves out of sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Floats, Prediction
from predictors.folds import fold_numbers
from predictors.ridge import Ridge

if TYPE_CHECKING:
    from predictors.features import Blocks

#: blocks of the encoding whose columns may be multiplied: one number a gene, and summaries of them
_BLOCKS = ("sizes", "size", "macs", "costs")
#: numbers of products that are tried; of n records at most n / 4 are
_NUMBERS = (8, 16, 32)
_FOLDS = 5
#: products must lower the squared error of records left out by this share
_GAIN = 0.02


@dataclass(frozen=True)
class InteractionRidge:
    """A ridge regression on the encoding and `(x[first] - centre) * (x[second] - centre)` for P pairs of columns."""

    first: Floats  # (P,) whole numbers
    second: Floats  # (P,)
    centre: Floats  # (num_features,)
    scale: Floats  # (P,) brings products to the size of the encoding's columns
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
    ) -> InteractionRidge:
        """How many products: by cross-validation, which picks them anew in every fold. Without `blocks`: none."""
        numbers = [num for num in _NUMBERS if 4 * num <= len(targets)] if blocks else []
        columns = np.zeros(0, dtype=np.int64)
        if blocks and numbers:
            every = np.arange(encodings.shape[1])
            columns = np.concatenate([every[blocks[name]] for name in _BLOCKS if name in blocks])
        best = 0
        if numbers:
            losses = _losses(encodings, targets, groups, columns, (0, *numbers), seed)
            least = int(np.argmin(losses))
            if losses[least] < (1.0 - _GAIN) * losses[0]:
                best = (0, *numbers)[least]
        return _with_products(encodings, targets, groups, columns, (best,))[0]

    def predict(self, encodings: Floats) -> Prediction:
        return self.ridge.predict(self._extended(encodings))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        own = {name: getattr(self, name) for name in ("first", "second", "centre", "scale")}
        own["main_centre"] = own.pop("centre")
        return {**own, **self.ridge.arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> InteractionRidge:
        num = len(arrays["first"]) if "first" in arrays and arrays["first"].ndim == 1 else 0
        shapes = {"first": (num,), "second": (num,), "scale": (num,), "main_centre": (num_features,)}
        own = take({name: array for name, array in arrays.items() if name in shapes}, shapes)
        ridge = Ridge.from_arrays(
            {name: array for name, array in arrays.items() if name not in shapes}, num_features=num_features + num
        )
        for name in ("first", "second"):
            numbers = own[name]
            if (numbers != np.floor(numbers)).any() or (numbers < 0).any() or (numbers >= num_features).any():
                raise ValueError(f"array {name!r} does not hold whole numbers in 0..{num_features - 1}")
        return cls(own["first"], own["second"], own["main_centre"], own["scale"], ridge)

    def _extended(self, encodings: Floats) -> Floats:
        if len(self.first) == 0:
            return encodings
        x = encodings - self.centre
        products = x[:, self.first.astype(np.int64)] * x[:, self.second.astype(np.int64)] * self.scale
        return np.concatenate([encodings, products], axis=1)


def _losses(
    encodings: Floats,
    targets: Floats,
    groups: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    numbers: tuple[int, ...],
    seed: int,
) -> Floats:
    """(len(numbers),) squared errors of records left out."""
    losses = np.zeros(len(numbers))
    fold_of = fold_numbers(groups, _FOLDS, seed=seed)
    for fold in range(_FOLDS):
        inside = fold_of == fold
        if inside.any() and not inside.all():
            models = _with_products(encodings[~inside], targets[~inside], groups[~inside], columns, numbers)
            for place, model in enumerate(models):
                losses[place] += float(np.sum((model.predict(encodings[inside]).mean - targets[inside]) ** 2))
    return losses


def _with_products(
    encodings: Floats,
    targets: Floats,
    groups: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    numbers: tuple[int, ...],
) -> list[InteractionRidge]:
    """Models with the so many products that go best with what main effects leave unexplained."""
    centre = encodings.mean(axis=0)
    none = np.zeros(0)
    main = InteractionRidge(none, none, centre, none, Ridge.fit(encodings, targets, groups, seed=0))
    if max(numbers) == 0:
        return [main for _ in numbers]
    x = (encodings - centre)[:, columns]
    upper, lower = np.triu_indices(len(columns))
    products = x[:, upper] * x[:, lower]
    products -= products.mean(axis=0)
    spread = products.std(axis=0)
    residuals = targets - main.ridge.predict(encodings).mean
    relation = np.abs(products.T @ residuals) / np.maximum(spread, 1e-9)
    order = np.argsort(-np.where(spread > 1e-9, relation.round(12), -1.0), kind="stable")
    models = []
    for num in numbers:
        chosen = order[: min(num, int(np.sum(spread > 1e-9)))]
        model = InteractionRidge(
            first=columns[upper[chosen]].astype(np.float64),
            second=columns[lower[chosen]].astype(np.float64),
            centre=centre,
            scale=0.3 / spread[chosen],
            ridge=main.ridge,
        )
        extended = model._extended(encodings)
        models.append(InteractionRidge(**{**vars(model), "ridge": Ridge.fit(extended, targets, groups, seed=0)}))
    return models
