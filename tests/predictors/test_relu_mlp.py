"""The published network computed with numpy: units that say nothing are left out, and nothing else changes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from predictors.relu_mlp import ReluMLP


def plain(weights: list[np.ndarray], biases: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """In double precision, all of it."""
    values = x.astype(np.float64)
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        values = values @ weight.astype(np.float64).T + bias
        if number < len(weights) - 1:
            values = np.maximum(values, 0)
    return values[:, 0]


def random_network(sizes: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(sizes))
    weights = [rng.normal(size=(units, inputs)).astype(np.float32) / np.sqrt(inputs) for inputs, units in pairs]
    return [w.astype(np.float32) for w in weights], [rng.normal(size=u).astype(np.float32) for _, u in pairs]


def inputs(num: int, features: int) -> np.ndarray:
    return (np.random.default_rng(1).random((num, features)) < 0.3).astype(np.float32)


@pytest.mark.parametrize("num", [1, 511, 512, 513, 2000])
def test_every_row_is_computed(num: int) -> None:
    weights, biases = random_network((20, 30, 25, 1))
    x = inputs(num, 20)
    found = ReluMLP(tuple(weights), tuple(biases)).predict(x).mean
    assert found.shape == (num,)
    assert np.abs(found - plain(weights, biases, x)).max() < 1e-5


def decayed() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """As strong weight decay leaves it: rows and columns of denormal numbers, some units constant, some unheard."""
    weights, biases = random_network((20, 30, 25, 15, 1))
    weights[0][:10] *= np.float32(1e-38)
    weights[0][:10] *= np.float32(1e-3)
    weights[1][:, 12:20] *= np.float32(1e-30)
    weights[1][:5] = 0
    weights[2][3, :] = 0
    weights[3][0, 5:9] = np.float32(1e-42)
    return weights, biases


def test_units_without_a_say_are_left_out_of_the_work_and_of_nothing_else() -> None:
    weights, biases = decayed()
    model = ReluMLP(tuple(weights), tuple(biases))
    x = inputs(300, 20)
    assert np.abs(model.predict(x).mean - plain(weights, biases, x)).max() < 1e-5
    sizes = [matrix.shape for matrix, _ in model._layers]
    assert sizes == [(20, 12), (12, 20), (20, 10), (10, 1)]
    assert all((np.abs(matrix[matrix != 0]) > 1e-20).all() for matrix, _ in model._layers)
    arrays = model.arrays()
    assert all(np.array_equal(arrays[f"weight.{i}"], weight) for i, weight in enumerate(weights))


def test_a_network_of_nothing_but_constants() -> None:
    weights, biases = random_network((6, 5, 4, 1))
    weights[0][:] = 0
    x = inputs(10, 6)
    found = ReluMLP(tuple(weights), tuple(biases)).predict(x).mean
    assert found == pytest.approx(plain(weights, biases, x), abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"weight.0": np.zeros((5, 7), np.float32)},
        {"weight.1": np.zeros((2, 5), np.float32)},
        {"bias.0": np.zeros(4, np.float32)},
        {"bias.1": np.array([np.nan], np.float32)},
        {"weight.0": np.zeros((5, 6), np.float64)},
        {"weight.0": np.zeros((), np.float32)},
        {"weight.7": np.zeros((1, 5), np.float32), "bias.7": np.zeros(1, np.float32)},
        {"extra": np.zeros(3, np.float32)},
    ],
    ids=str,
)
def test_arrays_that_are_no_network(change: dict[str, np.ndarray]) -> None:
    weights, biases = random_network((6, 5, 1))
    arrays = ReluMLP(tuple(weights), tuple(biases)).arrays()
    ReluMLP.from_arrays(arrays, num_features=6)
    with pytest.raises(ValueError):
        ReluMLP.from_arrays({**arrays, **change}, num_features=6)
