"""The gate on what searches find with few evaluations, on the published benchmark."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from benchmarks.nas_bench_macro import Benchmark, data_file, load
from benchmarks.tabular_search import Tabular, ceiling, search


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    path = data_file()
    if not path.exists():
        pytest.skip(f"no {path}: set OFA_BENCH_DATA")
    return load(path)


def test_truth_is_what_no_search_sees(benchmark: Benchmark) -> None:
    tables = [Tabular.of(benchmark, seed) for seed in range(3)]
    assert not any(np.array_equal(a.seen, b.seen) for a, b in pairwise(tables))
    for table in tables:
        both = (3 * benchmark.trainings.mean(axis=1) - table.seen) / 2
        assert np.allclose(table.truth, both)
        assert table.hypervolume(np.arange(len(table.truth))) == pytest.approx(1.0)
        assert ceiling(table)["all trainings"] < ceiling(table)["one training"] < 0.5


def test_the_predictor_loop_beats_chance(benchmark: Benchmark) -> None:
    """Loose: two seeds, within a tenth of the front's area after 30 evaluations, and better than random."""
    found = {
        way: [search(Tabular.of(benchmark, s), way, "hypervolume", s, (30, 60)) for s in (0, 1)]
        for way in ("predictor", "random")
    }
    predictor, random = (np.mean([each[60] for each in found[way]]) for way in ("predictor", "random"))
    assert predictor >= 0.985 and predictor > random


def test_the_best_within_a_budget(benchmark: Benchmark) -> None:
    """After 50 evaluations as good as anybody could tell after evaluating every network once."""
    tables = [Tabular.of(benchmark, seed) for seed in (0, 1)]
    regret = np.mean([search(table, "predictor", "regret", seed, (50,))[50] for seed, table in enumerate(tables)])
    assert regret <= 0.15 + np.mean([ceiling(table)["one training"] for table in tables])
