from __future__ import annotations

import numpy as np
import pytest

from benchmarks.nas_bench_macro import Benchmark, data_file, load
from benchmarks.predictors import draw, graded, summary, table
from predictors.features import Encoder


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    if not data_file().exists():
        pytest.skip(f"{data_file()} is missing: set OFA_BENCH_DATA to the folder that holds it")
    return load(data_file())


def test_records_are_of_one_training_and_the_truth_of_the_others(benchmark: Benchmark) -> None:
    records, others, training = draw(benchmark, 20, seed=4)
    assert training == 1
    assert len(others) == len(benchmark.population) - 20
    places = [benchmark.keys.index(key) for key in records.keys]
    assert not set(places) & set(others.tolist())
    assert np.array_equal(records.accuracies, benchmark.trainings[places, 1])
    assert np.allclose(benchmark.unseen(1), benchmark.trainings[:, [0, 2]].mean(axis=1))


def test_the_predictor_ranks_and_covers(benchmark: Benchmark) -> None:
    """A light gate on what `python -m benchmarks.predictors` measures with twenty seeds."""
    encodings = Encoder(benchmark.space)(benchmark.population)
    fits = [graded(benchmark, "chosen", num, seed, encodings) for num in (10, 50) for seed in range(6)]
    found = summary(fits)
    assert found["chosen"]["10"]["tau"]["mean"] > 0.70
    assert found["chosen"]["50"]["tau"]["mean"] > 0.83
    assert 0.80 < found["chosen"]["50"]["coverage"]["mean"] < 0.98
    assert "n = 50" in table(found, "tau")
