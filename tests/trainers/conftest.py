"""A tiny space, tiny synthetic data and configs over them: a training of a dozen steps takes about a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from search_spaces import SearchSpace, get_space
from trainers.data import ImageData, load_data
from trainers.settings.train import TrainingConfig

MakeConfig = Callable[..., TrainingConfig]

SPACE: dict[str, Any] = {
    "name": "mobilenet_v3_digits",
    "resolution": [12, 16],
    "kernel": [3, 5],
    "expand": [2, 3, 4],
    "depth": [1, 2],
    "widths": [8, 16],
    "strides": [2, 2],
    "activations": ["relu", "hard_swish"],
    "squeeze_excite": [False, True],
    "expanded_channels": 32,
    "feature_channels": 32,
}
DATA: dict[str, Any] = {"name": "synthetic", "num_images": 200, "num_classes": 3, "image_size": 16, "channels": 1}
TRAIN: dict[str, Any] = {"recipe": "sandwich", "epochs": 2, "batch_size": 16, "micro_batch": 8, "log_every": 2}


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return get_space(SPACE, 3, 1)


@pytest.fixture(scope="session")
def data() -> ImageData:
    return load_data(TrainingConfig(name="tiny", space=SPACE, data=DATA, train=TRAIN).data, seed=0)


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """`make_config(recipe=..., epochs=...)`: train settings over the defaults above (7 steps an epoch)."""

    def make(
        *, seed: int = 0, space: dict[str, Any] = SPACE, augment: dict[str, Any] | None = None, **train: Any
    ) -> TrainingConfig:
        section = {**TRAIN, **train}
        if "phases" in train:
            del section["recipe"]
        return TrainingConfig.model_validate(
            {"name": "tiny", "seed": seed, "space": space, "data": {**DATA, "augment": augment or {}}, "train": section}
        )

    return make
