"""A multi-layer perceptron as published: linear layers with ReLU between, the last of one output; numpy, float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from predictors.arrays import take
from predictors.base import Prediction

Singles = npt.NDArray[np.float32]

#: Rows computed at once: their hidden units stay in the processor's cache.
_BLOCK = 512
#: Weights below this cannot move a float32 accuracy, but denormal numbers make a product some hundred times slower.
_NOTHING = 1e-20


@dataclass(frozen=True)
class ReluMLP:
    """`weights[i]` is (units, inputs), `biases[i]` (units,), float32, from the first layer to the last (one unit)."""

    weights: tuple[Singles, ...]
    biases: tuple[Singles, ...]

    def predict(self, encodings: npt.NDArray[Any]) -> Prediction:
        """(num, num_features) -> means; no interval is known."""
        layers = self._layers
        mean = np.empty(len(encodings))
        rooms = [np.empty((min(_BLOCK, len(encodings)), len(bias)), dtype=np.float32) for _, bias in layers]
        zeros = [np.zeros_like(bias) for _, bias in layers]  # numpy compares with a row faster than with a number
        for start in range(0, len(encodings), _BLOCK):
            values = encodings[start : start + _BLOCK]
            for number, ((matrix, bias), room) in enumerate(zip(layers, rooms, strict=True)):
                out = room[: len(values)]
                np.matmul(values, matrix, out=out)
                out += bias
                if number < len(layers) - 1:
                    np.maximum(out, zeros[number], out=out)
                values = out
            mean[start : start + len(values)] = values[:, 0]
        return Prediction(mean)

    @property
    def num_features(self) -> int:
        return int(self.weights[0].shape[1])

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of the hidden layers."""
        return tuple(len(bias) for bias in self.biases[:-1])

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        weights = {f"weight.{number}": weight for number, weight in enumerate(self.weights)}
        return weights | {f"bias.{number}": bias for number, bias in enumerate(self.biases)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> ReluMLP:
        depth = max(len(arrays) // 2, 1)
        shapes: dict[str, tuple[int | None, ...]] = {}
        inputs = num_features
        for number in range(depth):
            weight = arrays.get(f"weight.{number}")
            units = 1 if number == depth - 1 or weight is None else int(weight.shape[0]) if weight.ndim else 0
            shapes |= {f"weight.{number}": (units, inputs), f"bias.{number}": (units,)}
            inputs = units
        checked = take(arrays, shapes)
        if any(array.dtype != np.float32 for array in checked.values()):
            raise ValueError("holds arrays of another type than float32")
        return cls(
            tuple(checked[f"weight.{number}"] for number in range(depth)),
            tuple(checked[f"bias.{number}"] for number in range(depth)),
        )

    @cached_property
    def _layers(self) -> list[tuple[Singles, Singles]]:
        """(inputs, units) matrices and biases to compute with: without the units that say nothing.

        Weight decay leaves whole layers of such units behind: those nothing goes out of, and those nothing comes in to,
        which are constant and join the next bias.
        """
        weights = [np.where(np.abs(weight) < _NOTHING, 0, weight).astype(np.float64) for weight in self.weights]
        biases = [bias.astype(np.float64) for bias in self.biases]
        for layer in range(len(weights) - 1):  # from the front: a constant unit may make the next one constant
            constant = (weights[layer] == 0).all(axis=1)
            biases[layer + 1] += weights[layer + 1] @ np.where(constant, np.maximum(biases[layer], 0.0), 0.0)
            _keep(weights, biases, layer, np.flatnonzero(~constant))
        for layer in reversed(range(len(weights) - 1)):
            _keep(weights, biases, layer, np.flatnonzero((weights[layer + 1] != 0).any(axis=0)))
        return [
            (np.ascontiguousarray(weight.T, dtype=np.float32), bias.astype(np.float32))
            for weight, bias in zip(weights, biases, strict=True)
        ]


def _keep(
    weights: list[npt.NDArray[np.float64]],
    biases: list[npt.NDArray[np.float64]],
    layer: int,
    kept: npt.NDArray[np.int64],
) -> None:
    """Keep these units of a hidden layer only."""
    weights[layer], biases[layer] = weights[layer][kept], biases[layer][kept]
    weights[layer + 1] = weights[layer + 1][:, kept]
