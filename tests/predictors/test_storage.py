from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from predictors.base import Predictor, load_predictor
from predictors.fit import _known, fit_records
from predictors.models import MODELS
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from predictors.storage import write_predictor
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError


class Hostile:
    def __reduce__(self):
        return (Path.touch, (Path("hacked"),))


@pytest.fixture(scope="module")
def fitted(space: SearchSpace, make_records: Callable[..., Records]) -> dict[str, Predictor]:
    return {
        name: fit_records(space, make_records(30), PredictorSettings(candidates=(name,), bootstrap=100, folds=2))
        for name in MODELS.names()
    }


@pytest.fixture
def folder(space: SearchSpace, fitted: dict[str, Predictor], tmp_path: Path) -> Path:
    write_predictor(fitted["ridge"], tmp_path / "predictor")
    return tmp_path / "predictor"


@pytest.mark.parametrize("name", MODELS.names())
def test_saved_and_loaded_predict_the_same(
    space: SearchSpace, fitted: dict[str, Predictor], tmp_path: Path, name: str
) -> None:
    write_predictor(fitted[name], tmp_path / "predictor")
    loaded = load_predictor(tmp_path / "predictor")
    rows = space.sample(500, np.random.default_rng(0))
    before, after = fitted[name].predict(space, rows), loaded.predict(space, rows)
    for end in ("mean", "lower", "upper"):
        assert np.array_equal(getattr(before, end), getattr(after, end))
    assert loaded.grade == fitted[name].grade
    assert loaded.inputs == fitted[name].inputs


def test_a_sub_space_is_predicted_like_the_whole(space: SearchSpace, fitted: dict[str, Predictor]) -> None:
    part = space.restrict(resolution=[24, 28], kernel=[3, 7], depth=[2])
    rows = part.sample(200, np.random.default_rng(0))
    whole = space.encode(part.decode(rows))
    assert np.array_equal(fitted["ridge"].predict(part, rows).mean, fitted["ridge"].predict(space, whole).mean)


def test_no_rows_no_predictions(space: SearchSpace, fitted: dict[str, Predictor]) -> None:
    assert fitted["mlp"].predict(space, space.sample(0, np.random.default_rng(0))).mean.shape == (0,)


def test_another_space_is_refused(fitted: dict[str, Predictor]) -> None:
    other = get_space({"name": "mobilenet_v3_digits"}, 10, 1)
    with pytest.raises(UserError, match="fitted to another space"):
        fitted["ridge"].predict(other, other.sample(3, np.random.default_rng(0)))


@pytest.mark.parametrize("file", ["predictor.json", "predictor.safetensors"])
def test_hostile_truncated_and_missing_files(folder: Path, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    path = folder / file
    whole = path.read_bytes()
    for data in (pickle.dumps(Hostile()), whole[: len(whole) // 2], b"", whole[:-9] + bytes(9)):
        path.write_bytes(data)
        with pytest.raises(UserError, match=file):
            load_predictor(folder)
    path.unlink()
    with pytest.raises(UserError, match=file):
        load_predictor(folder)
    assert not (folder / "hacked").exists()


def test_arrays_that_match_their_hash_but_not_their_model(folder: Path) -> None:
    """A whole forged folder: the hash is right, the content is not."""
    import hashlib

    facts = json.loads((folder / "predictor.json").read_text())
    for data in (pickle.dumps(Hostile()), (folder / "predictor.safetensors").read_bytes()[:40]):
        (folder / "predictor.safetensors").write_bytes(data)
        facts["arrays_sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "predictor.json").write_text(json.dumps(facts))
        with pytest.raises(UserError, match="does not hold a ridge model"):
            load_predictor(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "schema"),
        ({"model": "forest"}, "unknown accuracy model 'forest'"),
        ({"target": "error"}, "target"),
        ({"interval_scale": -1}, "interval_scale"),
        ({"interval_scale": float("nan")}, "interval_scale"),
        ({"num_features": 3}, "shape"),
        ({"extra": 1}, "extra"),
        ({"grade": {}}, "grade"),
    ],
)
def test_facts_are_checked(folder: Path, change: dict[str, object], message: str) -> None:
    facts = json.loads((folder / "predictor.json").read_text())
    (folder / "predictor.json").write_text(json.dumps(facts | change))
    with pytest.raises(UserError, match=message) as caught:
        load_predictor(folder)
    assert str(folder) in str(caught.value)


def test_a_predictor_of_an_earlier_version(folder: Path) -> None:
    """Its features are no more: loading says what to do, and fitting again replaces it."""
    path = folder / "predictor.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1}))
    with pytest.raises(UserError, match=r"earlier version.*ofa fit"):
        load_predictor(folder)
    assert _known(folder) is None
