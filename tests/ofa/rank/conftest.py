from __future__ import annotations

import numpy as np
import pytest

from predictors.record_file import Records
from predictors.sampling import record_list
from search_spaces import SearchSpace, get_space


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """Two stages of one or two blocks."""
    settings = {
        "name": "mobilenet_v3_digits",
        "resolution": [20, 24],
        "kernel": [3, 5],
        "expand": [2, 4, 6],
        "depth": [1, 2],
        "widths": [16, 24],
        "strides": [2, 2],
        "activations": ["relu", "hard_swish"],
        "squeeze_excite": [False, True],
    }
    return get_space(settings, num_classes=10, in_channels=1)


@pytest.fixture(scope="session")
def records(space: SearchSpace) -> Records:
    """60 sampled networks whose accuracy grows with their MACs, with a little noise that belongs to the network."""
    rows = record_list(space, 60, seed=0, sampling="stratified")
    noise = np.random.default_rng(0).normal(size=len(rows))
    accuracies = 0.7 + 0.05 * np.log(space.cost("macs").evaluate(rows) / 1e5) + 0.002 * noise
    keys = tuple(architecture.key for architecture in space.decode(rows))
    return Records(rows, accuracies, 1 - accuracies, keys, ("sampled",) * len(rows))
