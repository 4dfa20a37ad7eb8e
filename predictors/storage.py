"""A predictor on disk: `predictor.json` (facts, grade) and `predictor.safetensors` (arrays). Nothing is unpickled."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
import safetensors
import safetensors.numpy

from predictors.base import Predictor, Published
from predictors.columns import ColumnEncoder
from predictors.grades import Grade
from predictors.models import MODELS, PUBLISHED_MODELS
from predictors.targets import TARGETS
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import atomic_directory, read_json, write_bytes, write_json
from search_spaces.common.settings import Settings, parse_settings

if TYPE_CHECKING:
    from predictors.base import AccuracyModel

_FACTS, _ARRAYS = "predictor.json", "predictor.safetensors"
_SCHEMA = 2  # 1 had an encoding with fewer features; for published predictors both are the same


class OutdatedPredictor(UserError):
    """A sound predictor of an earlier version, over features that are no more: only fitting again helps."""


class _PredictorFile(Settings):
    """What `predictor.json` holds. The last two are there for published predictors, where others are null."""

    schema_version: Literal[1, 2] = pydantic.Field(alias="schema")
    model: str
    target: str
    interval_scale: float | None = pydantic.Field(ge=0)
    level: float | None = pydantic.Field(gt=0, lt=1)
    num_features: int = pydantic.Field(ge=1)
    space: dict[str, Any]
    fingerprint: str
    arrays_sha256: str
    inputs: str
    grade: Grade | None
    columns: tuple[str, ...] | None = None
    published: Published | None = None

    @pydantic.model_validator(mode="after")
    def _fitted_or_published(self) -> _PredictorFile:
        for key in ("interval_scale", "level", "grade"):
            if self.published is None and getattr(self, key) is None:
                raise UserError("must not be null, unless the predictor was published", key=key)
            if self.published is not None and getattr(self, key) is not None:
                raise UserError("must be null: the predictor was published, not fitted here", key=key)
        if (self.columns is None) != (self.published is None):
            raise UserError("goes together with published: both or none", key="columns")
        if self.columns is not None and len(self.columns) != self.num_features:
            raise UserError(f"is not the number of columns, {len(self.columns)}", key="num_features")
        return self


def write_predictor(predictor: Predictor, folder: Path | str) -> None:
    """Put the predictor into `folder` in one step: the old one stays until the new one is complete."""
    arrays = {name: np.ascontiguousarray(array) for name, array in predictor.model.arrays().items()}
    data = safetensors.numpy.save(arrays)
    facts = {
        "schema": _SCHEMA,
        "model": predictor.name,
        "target": predictor.target,
        "interval_scale": predictor.interval_scale,
        "level": predictor.level,
        "num_features": predictor.num_features,
        "space": predictor.space_description,
        "fingerprint": predictor.space_fingerprint,
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
        "inputs": predictor.inputs,
        "grade": None if predictor.grade is None else asdict(predictor.grade),
    }
    if predictor.columns is not None and predictor.published is not None:
        facts |= {"columns": list(predictor.columns), "published": asdict(predictor.published)}
    with atomic_directory(folder) as temporary:
        write_bytes(temporary / _ARRAYS, data)
        write_json(temporary / _FACTS, facts)


def read_predictor(folder: Path | str) -> Predictor:
    """The predictor in `folder`; `UserError` for a missing, truncated, foreign or tampered file."""
    folder = Path(folder)
    path = folder / _ARRAYS
    facts = parse_settings(_PredictorFile, read_json(folder / _FACTS, "predictor"), file=folder / _FACTS)
    if facts.target not in TARGETS:
        raise UserError("unknown target", file=folder / _FACTS, key="target", value=facts.target)
    if facts.schema_version < _SCHEMA and facts.published is None:
        message = "was fitted by an earlier version, over other features"
        raise OutdatedPredictor(message, file=folder / _FACTS, hint="Fit it again to its records with `ofa fit RUN`")
    models = PUBLISHED_MODELS if facts.published is not None else MODELS
    model: type[AccuracyModel] = models.get(facts.model, file=folder / _FACTS, key="model")
    again = "import it again with `ofa import predictor`" if facts.published else "fit again with `ofa fit RUN`"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the predictor's arrays cannot be read: {error.strerror}", file=path) from None
    if hashlib.sha256(data).hexdigest() != facts.arrays_sha256:
        raise UserError(
            f"is not the file that {_FACTS} was written with", file=path, hint=f"Delete this folder and {again}"
        )
    try:
        fitted = model.from_arrays(safetensors.numpy.load(data), num_features=facts.num_features)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"does not hold a {facts.model} model: {error}", file=path) from None
    if facts.columns is not None:  # what they mean shows in the space only
        space = SearchSpace.from_description(facts.space, file=folder / _FACTS)
        with in_file(folder / _FACTS):
            if space.fingerprint != facts.fingerprint:
                raise UserError("is not that of the space", key="fingerprint", value=facts.fingerprint)
            ColumnEncoder(space, facts.columns)
    return Predictor(
        name=facts.model,
        model=fitted,
        target=facts.target,
        space_description=facts.space,
        space_fingerprint=facts.fingerprint,
        inputs=facts.inputs,
        interval_scale=facts.interval_scale,
        level=facts.level,
        grade=facts.grade,
        columns=facts.columns,
        published=facts.published,
    )
