from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from predictors.base import Prediction
from search_spaces import SearchSpace, get_space
from search_spaces.costs import CostTable

Predict = Callable[[np.ndarray], Prediction]


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
def costs(space: SearchSpace) -> dict[str, CostTable]:
    """The exact costs, and a latency on device `a` that is not in step with them."""
    exact = {metric: space.cost(metric) for metric in ("macs", "params", "peak_memory", "flash")}
    latency = space.cost_of(
        lambda operator: 1e-3 * operator.params() ** 0.5 + 2e-6 * operator.macs() ** 0.9, constant=0.02
    )
    return {**exact, "latency@a": latency}


@pytest.fixture(scope="session")
def landscape(space: SearchSpace) -> Callable[[int], Predict]:
    """Accuracies (num,) in 0..1 from main effects, interactions of neighbouring genes and size, by seed."""

    def make(seed: int) -> Predict:
        rng = np.random.default_rng(seed)
        num = space.one_hot(space.smallest()[None]).shape[1]
        effects = rng.normal(size=num)
        pairs = rng.integers(num, size=(2 * num, 2))
        interactions = rng.normal(size=2 * num)
        macs = space.cost("macs")

        def predict(population: np.ndarray) -> Prediction:
            x = space.one_hot(population).astype(np.float64)
            score = x @ effects + (x[:, pairs[:, 0]] * x[:, pairs[:, 1]]) @ interactions
            score = score + 2.0 * np.log(macs.evaluate(population) / 1e5)
            mean = 1.0 / (1.0 + np.exp(-score / 10))
            return Prediction(mean=mean, lower=mean - 0.01, upper=mean + 0.01)

        return predict

    return make
