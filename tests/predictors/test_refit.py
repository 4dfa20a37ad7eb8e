from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import predictors.refit as refit
from predictors.fit import fit_records
from predictors.record_file import Records
from predictors.refit import Refitter
from predictors.settings import PredictorSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError

Make = Callable[..., Records]
SETTINGS = PredictorSettings(candidates=("gp", "ridge"), bootstrap=100, folds=3)


def test_the_predictor_follows_from_the_records_however_they_came(space: SearchSpace, make_records: Make) -> None:
    records = make_records(30).take(np.random.default_rng(0).permutation(30))
    asked = space.sample(50, np.random.default_rng(1))
    growing = Refitter(space, SETTINGS)
    for num in (10, 11, 16, 29, 30):
        step = growing.update(records.take(np.arange(num)))
        again = Refitter(space, SETTINGS).update(records.take(np.arange(num)))
        for end in ("mean", "lower", "upper"):
            assert np.array_equal(getattr(step.predict(space, asked), end), getattr(again.predict(space, asked), end))
        assert step.inputs == again.inputs


def test_everything_is_chosen_anew_only_when_there_is_a_quarter_more(
    space: SearchSpace, make_records: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []

    def counted(space: SearchSpace, records: Records, *arguments, **named):
        fits.append(len(records))
        return fit_records(space, records, *arguments, **named)

    monkeypatch.setattr(refit, "fit_records", counted)
    records, refitter = make_records(40), Refitter(space, SETTINGS)
    for num in range(10, 41):
        predictor = refitter.update(records.take(np.arange(num)))
        assert predictor.grade.num_records == fits[-1]
    assert fits == [10, 13, 17, 22, 28, 35]


def test_new_records_teach(space: SearchSpace, make_records: Make) -> None:
    """Between two full fits: the predictor of 34 records is nearer to the six new ones than that of 28."""
    records, settings = make_records(34), SETTINGS.model_copy(update={"candidates": ("gp",)})
    new, accuracies = records.population[28:], records.accuracies[28:]
    refitter = Refitter(space, settings)
    before = refitter.update(records.take(np.arange(28))).predict(space, new).mean
    after = refitter.update(records).predict(space, new).mean
    assert np.abs(after - accuracies).mean() < 0.7 * np.abs(before - accuracies).mean()


def test_a_model_that_cannot_be_refitted_is_fitted(space: SearchSpace, make_records: Make) -> None:
    records, settings = make_records(12), SETTINGS.model_copy(update={"candidates": ("ridge",)})
    predictor = Refitter(space, settings).update(records)
    assert predictor.grade.num_records == 10
    assert np.isfinite(predictor.predict(space, records.population).mean).all()


def test_too_few_records(space: SearchSpace, make_records: Make) -> None:
    with pytest.raises(UserError, match="at least 10 records"):
        Refitter(space, SETTINGS).update(make_records(9))
