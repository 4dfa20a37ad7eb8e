from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from predictors.features import Encoder
from predictors.record_file import Records
from predictors.sampling import record_list
from search_spaces import SearchSpace, get_space


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """5,292 networks: two stages of one or two blocks."""
    return get_space(
        {
            "name": "mobilenet_v3_digits",
            "resolution": [20, 24, 28],
            "expand": [3, 6],
            "depth": [1, 2],
            "widths": [16, 24],
            "strides": [2, 2],
            "activations": ["relu", "hard_swish"],
            "squeeze_excite": [False, True],
        },
        num_classes=10,
        in_channels=1,
    )


@pytest.fixture(scope="session")
def truth(space: SearchSpace) -> Callable[[np.ndarray], np.ndarray]:
    """A ground truth (num,) in 0..1: kernels matter as much as size, and diminishing returns."""
    encoder = Encoder(space)
    weights = np.zeros(encoder.num_features)
    for block in ("genes", "shares"):
        columns = encoder.blocks[block]
        weights[columns] = np.random.default_rng(11).normal(size=columns.stop - columns.start)

    def accuracy(population: np.ndarray) -> np.ndarray:
        return 1.0 - 0.1 * np.exp(-0.5 * encoder(population) @ weights - 0.6 * space.active(population).mean(axis=1))

    return accuracy


@pytest.fixture(scope="session")
def make_records(space: SearchSpace, truth: Callable[[np.ndarray], np.ndarray]) -> Callable[[int], Records]:
    """Records of the first `num` networks of the list, with a little noise that belongs to the network."""

    def make(num: int, noise: float = 0.001) -> Records:
        rows = record_list(space, num, seed=0, sampling="uniform")
        accuracies = np.clip(truth(rows) + noise * np.random.default_rng(1).normal(size=len(rows)), 0, 1)
        keys = [architecture.key for architecture in space.decode(rows)]
        order = np.argsort(keys)
        return Records(
            population=rows[order],
            accuracies=accuracies[order],
            losses=1.0 - accuracies[order],
            keys=tuple(keys[i] for i in order),
            origins=("sampled",) * len(rows),
        )

    return make
