"""What every accuracy model promises, whatever it is: run over the registry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from predictors.base import Prediction
from predictors.features import Encoder
from predictors.fit import MIN_RECORDS
from predictors.models import MODELS
from predictors.record_file import Records
from predictors.targets import TARGETS
from search_spaces import SearchSpace

every_model = pytest.mark.parametrize("name", MODELS.names())
ENDS = ("mean", "lower", "upper")


@pytest.fixture(scope="module")
def encoder(space: SearchSpace) -> Encoder:
    return Encoder(space)


@pytest.fixture(scope="module")
def known(encoder: Encoder, make_records: Callable[..., Records]) -> tuple[np.ndarray, np.ndarray]:
    records = make_records(40)
    return encoder(records.population), TARGETS["log_error"].from_accuracy(records.accuracies)


@pytest.fixture(scope="module")
def unknown(space: SearchSpace, encoder: Encoder) -> np.ndarray:
    return encoder(space.sample(60, np.random.default_rng(7)))


def fit(name: str, encoder: Encoder, encodings: np.ndarray, targets: np.ndarray, groups: np.ndarray | None = None):
    groups = np.arange(len(targets)) if groups is None else groups
    return MODELS.get(name).fit(encodings, targets, groups, seed=1, blocks=encoder.blocks)


def assert_close(first: Prediction, second: Prediction, tolerance: float) -> None:
    for end in ENDS:
        assert np.allclose(getattr(first, end), getattr(second, end), rtol=0, atol=tolerance)


@every_model
def test_arrays_are_all_of_a_model(name: str, encoder: Encoder, known, unknown) -> None:
    model = fit(name, encoder, *known)
    again = MODELS.get(name).from_arrays(model.arrays(), num_features=encoder.num_features)
    before, after = model.predict(unknown), again.predict(unknown)
    for end in ENDS:
        assert np.array_equal(getattr(before, end), getattr(after, end))
    assert (before.lower <= before.mean).all()
    assert (before.mean <= before.upper).all()


@every_model
def test_foreign_arrays_are_refused(name: str, encoder: Encoder, known) -> None:
    """One array at a time: not a number, of another shape, missing, one too many."""
    model = fit(name, encoder, *known)
    rebuild, features = MODELS.get(name).from_arrays, encoder.num_features
    arrays = model.arrays()
    for key, array in arrays.items():
        others = {other: value for other, value in arrays.items() if other != key}
        broken = [{**others, key: array[None]}, others]
        if array.size:
            broken.append({**others, key: np.full_like(array, np.nan)})
        for mapping in broken:
            with pytest.raises(ValueError, match=r"shape|finite|holds the arrays|hold whole numbers"):
                rebuild(mapping, num_features=features)
    with pytest.raises(ValueError, match="holds the arrays"):
        rebuild({**arrays, "extra": np.zeros(1)}, num_features=features)
    with pytest.raises(ValueError, match=r"shape|whole numbers"):
        rebuild(arrays, num_features=2)


@every_model
def test_equal_networks_are_predicted_equal(name: str, encoder: Encoder, known, unknown) -> None:
    twice = np.concatenate([unknown, unknown[::-1]])
    mean = fit(name, encoder, *known).predict(twice).mean
    assert np.allclose(mean[:60], mean[60:][::-1], rtol=0, atol=1e-9)


@every_model
def test_equal_fits_are_equal(name: str, encoder: Encoder, known, unknown) -> None:
    assert_close(fit(name, encoder, *known).predict(unknown), fit(name, encoder, *known).predict(unknown), 0.0)


@pytest.mark.parametrize("name", ["gp", "ridge", "costs"])
def test_the_order_of_records_is_of_no_matter(name: str, encoder: Encoder, known, unknown) -> None:
    """Bagging and boosting draw rows by number; `fit_records` sorts the records for them."""
    order = np.random.default_rng(3).permutation(40)
    groups = np.repeat(np.arange(10), 4)
    first = fit(name, encoder, *known, groups)
    second = fit(name, encoder, known[0][order], known[1][order], groups[order])
    assert_close(first.predict(unknown), second.predict(unknown), 2e-3 if name == "gp" else 1e-6)


@every_model
def test_constant_targets_are_predicted(name: str, encoder: Encoder, known, unknown) -> None:
    prediction = fit(name, encoder, known[0], np.full(40, 2.0)).predict(unknown)
    for end in ENDS:
        assert getattr(prediction, end) == pytest.approx(2.0, abs=1e-5)


@every_model
def test_networks_that_are_all_the_same_have_the_mean(name: str, encoder: Encoder, known) -> None:
    encodings = np.repeat(known[0][:1], 12, axis=0)
    prediction = fit(name, encoder, encodings, known[1][:12]).predict(encodings[:1])
    deviation = float(known[1][:12].std())  # a bag of records has another mean than all of them
    tolerance = 0.5 * deviation if name == "mlp" else 1e-6
    assert prediction.mean == pytest.approx(known[1][:12].mean(), abs=tolerance)


@every_model
def test_repeated_rows_and_constant_columns(name: str, encoder: Encoder, known, unknown) -> None:
    encodings = np.concatenate([known[0], known[0]])
    encodings[:, encoder.blocks["size"]] = 0.5
    encodings[:, encoder.blocks["genes"].start] = 1.0
    prediction = fit(name, encoder, encodings, np.tile(known[1], 2), np.tile(np.arange(40), 2)).predict(unknown)
    for end in ENDS:
        assert np.isfinite(getattr(prediction, end)).all()


@every_model
@pytest.mark.parametrize("group_size", [1, 5, MIN_RECORDS])
def test_the_fewest_records(name: str, encoder: Encoder, known, unknown, group_size: int) -> None:
    groups = np.arange(MIN_RECORDS) // group_size
    prediction = fit(name, encoder, known[0][:MIN_RECORDS], known[1][:MIN_RECORDS], groups).predict(unknown)
    for end in ENDS:
        assert np.isfinite(getattr(prediction, end)).all()


@every_model
def test_no_blocks_are_no_trouble(name: str) -> None:
    rng = np.random.default_rng(0)
    encodings = rng.random((40, 3))
    targets = encodings @ np.array([3.0, -2.0, 1.0]) + 0.01 * rng.normal(size=40)
    model = MODELS.get(name).fit(encodings, targets, np.arange(40), seed=0)
    assert np.corrcoef(model.predict(encodings).mean, targets)[0, 1] > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boosting", "mlp"])
def test_the_error_is_that_of_groups_left_out(name: str, encoder: Encoder, known) -> None:
    """Every network five times, with accuracies that are its own luck: told of groups, a model knows it."""
    encodings = np.repeat(known[0][:16], 5, axis=0)
    targets = np.repeat(np.random.default_rng(2).normal(size=16), 5)
    widths = []
    for groups in (np.repeat(np.arange(16), 5), np.arange(80)):
        prediction = fit(name, encoder, encodings, targets, groups).predict(encodings)
        widths.append(float(np.mean(prediction.upper - prediction.lower)))
    assert widths[0] > 1.5 * widths[1]
