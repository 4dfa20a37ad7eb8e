"""Search for a transformer in the memory of a microcontroller, under both plans of using it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from predictors.fit import fit_records
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from predictors.storage import write_predictor
from search_spaces import Architecture, SearchSpace, get_space


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mcuformer"}, num_classes=10)


@pytest.fixture(scope="module")
def predictor(space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of accuracies that grow with the work done, by a formula."""
    rows = space.sample(60, np.random.default_rng(0), uniform=False)
    macs = np.log(space.cost("macs").evaluate(rows))
    keys = tuple(architecture.key for architecture in space.decode(rows))
    accuracies = 0.5 + 0.3 * (macs - macs.min()) / np.ptp(macs)
    records = Records(rows, accuracies, 1 - accuracies, keys, ("sampled",) * len(keys))
    folder = tmp_path_factory.mktemp("predictor")
    settings = PredictorSettings(candidates=("ridge",), folds=2, bootstrap=100)
    write_predictor(fit_records(space, records, settings, quiet=True), folder)
    return folder


def test_a_network_that_overwrites_its_tokens_fits(ofa: Any, space: SearchSpace, predictor: Path) -> None:
    words = ["search", "--accuracy", predictor, "--dtype", "int8", "--max", "peak_memory=110KiB", "--max", "flash=1MiB"]
    refused = ofa(*words)
    assert refused.code == 3 and "keeps peak_memory <= 110 KiB; the smallest achievable is" in refused.message
    answer = ofa(*words, "--memory-plan", "overwriting", "--json")
    facts = json.loads(answer.out)
    assert answer.code == 0 and facts["memory_plan"] == "overwriting"
    for candidate in facts["candidates"]:
        row = space.encode([Architecture.from_json(candidate["architecture"])])
        peaks = {p: space.cost("peak_memory", "int8", plan=p).evaluate(row)[0] for p in ("naive", "overwriting")}
        assert candidate["predicted_costs"]["peak_memory"] == peaks["overwriting"] <= 110 * 1024
        assert candidate["naive_peak_memory"] == peaks["naive"] > 110 * 1024
        assert candidate["predicted_costs"]["flash"] == space.cost("flash", "int8").evaluate(row)[0] <= 2**20


def test_both_plans_stand_beside_each_other(ofa: Any, predictor: Path) -> None:
    words = ["search", "--accuracy", predictor, "--max", "peak_memory=320KiB", "--dtype", "int8", "-n", "2"]
    assert "naive plan" in ofa(*words, "--memory-plan", "overwriting").out
    assert "naive plan" not in ofa(*words).out
    answer = ofa(*words, "--memory-plan", "overwritng")
    assert answer.code == 2
    assert "--memory-plan: unknown memory plan 'overwritng'. Did you mean 'overwriting'?" in answer.message
