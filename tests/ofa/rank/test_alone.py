from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa.rank.alone import standalone_accuracies
from ofa.rank.ranking import standalone_facts
from predictors.rankings import Bootstrap
from search_spaces import Architecture, SearchSpace

BOOTSTRAP = Bootstrap(level=0.9, resamples=200, seed=0)


def test_every_training_has_a_folder_of_its_own(space: SearchSpace, tmp_path: Path) -> None:
    architectures = space.decode(space.sample(3, np.random.default_rng(0)))
    trained: dict[Path, float] = {}
    told: list[str] = []

    def train(architecture: Architecture, seed: int, folder: Path) -> float:
        trained[folder] = seed + architectures.index(architecture) / 10
        return trained[folder]

    found = standalone_accuracies(architectures, [4, 7], train, folder=tmp_path, tell=told.append)
    assert found == pytest.approx(np.array([[4.0, 4.1, 4.2], [7.0, 7.1, 7.2]]))
    assert list(trained) == [tmp_path / "alone" / f"{one.key}-seed{seed}" for seed in (4, 7) for one in architectures]
    assert told[3] == f"training alone, 4 of 6: {architectures[0].key} with seed 7"


def test_scores_against_the_mean_of_the_seeds() -> None:
    rng = np.random.default_rng(1)
    truth = np.linspace(0.8, 0.9, 12)
    accuracies = truth + 0.01 * rng.normal(size=(2, 12))
    facts = standalone_facts({"supernet": accuracies.mean(axis=0), "macs": -truth}, accuracies, BOOTSTRAP)
    assert facts["num"] == 12 and facts["scores"]["supernet"]["tau"]["value"] == pytest.approx(1)
    assert facts["scores"]["macs"]["tau"]["value"] < -0.6
    assert facts["between_seeds"]["value"] < facts["ceiling"]["tau"]["value"] < 1
    one = standalone_facts({"supernet": truth}, accuracies[:1], BOOTSTRAP)
    assert one["between_seeds"] is None and one["ceiling"] is None
