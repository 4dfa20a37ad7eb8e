from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from predictors.fit import fit_records, inputs_digest, preferred, split_heldout
from predictors.fit_job import Job
from predictors.record_file import Records
from predictors.ridge import Ridge
from predictors.settings import PredictorSettings
from predictors.storage import write_predictor
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError

Make = Callable[..., Records]
SETTINGS = PredictorSettings(bootstrap=200)


@pytest.mark.parametrize(
    "name", ["gp", "ridge", *(pytest.param(name, marks=pytest.mark.slow) for name in ("boosting", "mlp"))]
)
def test_every_model_beats_the_baselines_and_gives_sound_intervals(
    space: SearchSpace, make_records: Make, truth, name: str
) -> None:
    predictor = fit_records(space, make_records(150), SETTINGS.model_copy(update={"candidates": (name,), "folds": 3}))
    grade = predictor.grade
    assert predictor.name == name
    assert (grade.num_records, grade.num_heldout) == (150, 30)
    for baseline in grade.baselines.values():
        assert grade.predictor.tau.value > baseline.tau.value + 0.1
        assert grade.predictor.rmse.value < baseline.rmse.value
    assert grade.predictor.tau.lower <= grade.predictor.tau.value <= grade.predictor.tau.upper
    fresh = space.sample(2000, np.random.default_rng(99))
    prediction = predictor.predict(space, fresh)
    true = truth(fresh) + 0.001 * np.random.default_rng(3).normal(size=2000)
    assert scipy.stats.kendalltau(prediction.mean, true).statistic > 0.85
    assert 0.8 <= np.mean((prediction.lower <= true) & (true <= prediction.upper)) <= 0.99
    assert (prediction.lower <= prediction.mean).all()
    assert (prediction.mean <= prediction.upper).all()


@pytest.mark.parametrize("group_size", [1, 3])
def test_the_ridge_error_is_that_of_refitting_without_each_group(group_size: int) -> None:
    rng = np.random.default_rng(0)
    encodings = rng.random((24, 5))
    targets = encodings @ rng.normal(size=5) + 0.3 * rng.normal(size=24)
    groups = np.arange(24) // group_size
    errors = []
    for penalty in np.logspace(-3, 3, 25):
        residuals = []
        for group in np.unique(groups):
            inside = groups == group
            centre = encodings[~inside].mean(axis=0)
            known = encodings[~inside] - centre
            weights = np.linalg.solve(known.T @ known + penalty * np.eye(5), known.T @ targets[~inside])
            residuals += list(targets[inside] - targets[~inside].mean() - (encodings[inside] - centre) @ weights)
        errors.append(np.sqrt(np.mean(np.square(residuals))))
    found = Ridge.fit(encodings, targets, groups, seed=0).arrays()["error"][0]
    assert found == pytest.approx(min(errors), rel=1e-6)


def test_same_records_same_bytes_and_new_ones_keep_the_holdout(
    space: SearchSpace, make_records: Make, tmp_path: Path
) -> None:
    records = make_records(40)
    for folder in ("a", "b"):
        predictor = fit_records(space, records, SETTINGS)
        write_predictor(predictor, tmp_path / folder)
    for file in ("predictor.json", "predictor.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert predictor.inputs == inputs_digest(records, space, SETTINGS, seed=0)
    assert predictor.inputs != inputs_digest(make_records(41), space, SETTINGS, seed=0)
    held = {records.keys[i] for i in split_heldout(records.keys, 0.2, seed=0)[1]}
    more = make_records(50)
    train, held_later = ({more.keys[i] for i in part} for part in split_heldout(more.keys, 0.2, seed=0))
    assert len(held & train) <= 2
    assert len(held_later) == 10


def test_heldout_records_do_not_move_the_graded_model(space: SearchSpace, make_records: Make) -> None:
    """Only held-out accuracies change: what picked the model, and its out-of-fold scores, must stay."""
    records = make_records(60)
    _, heldout = split_heldout(records.keys, 0.2, seed=0)
    spoilt = records.accuracies.copy()
    spoilt[heldout] = spoilt[heldout][::-1]
    changed = Records(records.population, spoilt, records.losses, records.keys, records.origins)
    before, after = fit_records(space, records, SETTINGS), fit_records(space, changed, SETTINGS)
    assert before.grade.cross_validation == after.grade.cross_validation
    assert before.grade.predictor != after.grade.predictor


def test_search_records_are_left_out_by_default(space: SearchSpace, make_records: Make) -> None:
    records = make_records(60)
    mixed = Records(
        records.population, records.accuracies, records.losses, records.keys, ("search", *records.origins[1:])
    )
    assert fit_records(space, mixed, SETTINGS).grade.num_records == 59


def test_too_few_records(space: SearchSpace, make_records: Make) -> None:
    with pytest.raises(UserError, match="at least 10 records, there are 6"):
        fit_records(space, make_records(6), SETTINGS)


def test_settings_name_known_models() -> None:
    with pytest.raises(ValueError, match="unknown accuracy model 'rigde'"):
        PredictorSettings.model_validate({"candidates": ["rigde"]})


def test_records_drawn_together_are_never_on_both_sides(
    space: SearchSpace, make_records: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = make_records(60)
    grouped = replace(records, groups=tuple(str(number % 12) for number in range(60)))
    train, heldout = split_heldout(grouped.group_names, 0.2, seed=0)
    assert sorted([*train, *heldout]) == list(range(60))
    assert len(heldout) == 15  # whole groups of 5, until there are 12
    assert not {grouped.groups[i] for i in train} & {grouped.groups[i] for i in heldout}

    asked: list[tuple[set[int], set[int]]] = []
    real = Job.out_of_fold

    def watched(self: Job, name: str, rows: np.ndarray, advance: Callable[..., None]) -> object:
        def fit(self: Job, name: str, known: np.ndarray) -> object:
            asked.append((set(self.groups[known]), set(self.groups[np.setdiff1d(rows, known)])))
            return real_fit(self, name, known)

        real_fit = Job.fit
        with monkeypatch.context() as patch:
            patch.setattr(Job, "fit", fit)
            return real(self, name, rows, advance)

    monkeypatch.setattr(Job, "out_of_fold", watched)
    fit_records(space, grouped, SETTINGS)
    assert len(asked) == 20  # three candidates, then the one chosen over all records
    assert all(known and unknown and not known & unknown for known, unknown in asked)
    monkeypatch.undo()
    alone = replace(records, groups=records.keys)
    assert fit_records(space, alone, SETTINGS).grade == fit_records(space, records, SETTINGS).grade
    assert inputs_digest(alone, space, SETTINGS, seed=0) == inputs_digest(records, space, SETTINGS, seed=0)
    assert inputs_digest(grouped, space, SETTINGS, seed=0) != inputs_digest(records, space, SETTINGS, seed=0)


@pytest.mark.parametrize("sizes", [(1, 1, 8), (8, 2), (5, 5), (10,)])
def test_few_groups_are_fitted_all_the_same(space: SearchSpace, make_records: Make, sizes: tuple[int, ...]) -> None:
    names = tuple(str(number) for number, size in enumerate(sizes) for _ in range(size))
    predictor = fit_records(space, replace(make_records(10), groups=names), SETTINGS)
    assert np.isfinite(predictor.predict(space, space.sample(5, np.random.default_rng(0))).mean).all()


def test_the_order_of_the_file_does_not_move_the_predictor(space: SearchSpace, make_records: Make) -> None:
    records = make_records(30)
    shuffled = records.take(np.random.default_rng(0).permutation(30))
    settings = SETTINGS.model_copy(update={"candidates": ("gp", "ridge")})
    first, second = fit_records(space, records, settings), fit_records(space, shuffled, settings)
    assert first.grade == second.grade
    for name, array in first.model.arrays().items():
        assert np.array_equal(array, second.model.arrays()[name])


def test_another_candidate_is_taken_only_on_evidence() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    good, alike, bad = (truth + scale * rng.normal(size=60) for scale in (0.3, 0.32, 3.0))
    assert preferred({"bad": bad, "good": good, "alike": alike}, truth) in ("good", "alike")
    assert preferred({"good": good, "bad": bad}, truth) == "good"
    assert preferred({"alike": alike, "good": good}, truth) == "alike"
    chance = sum(
        preferred({"first": truth + rng.normal(size=60), "second": truth + rng.normal(size=60)}, truth) == "second"
        for _ in range(200)
    )
    assert 15 <= chance <= 55  # beyond one standard error to one side: 16 % of 200


def test_where_size_is_all_there_is_the_predictor_is_as_good_as_size(space: SearchSpace, make_records: Make) -> None:
    """The models have many columns to err with; a parabola through log MACs has none of them."""
    macs = np.log(space.cost("macs").evaluate(make_records(60).population))
    rng = np.random.default_rng(0)
    records = replace(make_records(60), accuracies=0.5 + 0.1 * (macs - macs.mean()) + 0.02 * rng.normal(size=60))
    fresh = space.sample(1000, np.random.default_rng(5))
    true = space.cost("macs").evaluate(fresh)
    chosen, size = (
        scipy.stats.kendalltau(fit_records(space, records, settings).predict(space, fresh).mean, true).statistic
        for settings in (PredictorSettings(bootstrap=100), PredictorSettings(bootstrap=100, candidates=("costs",)))
    )
    assert size > 0.75
    assert chosen > size - 0.1
