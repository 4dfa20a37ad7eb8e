"""A predictor on disk: `predictor.json` (facts, grade) and `predictor.safetensors` (arrays). Nothing is unpickled."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import safetensors
import safetensors.numpy

from predictors.base import Predictor
from predictors.grades import Grade
from predictors.models import MODELS
from predictors.targets import TARGETS
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, read_json, write_bytes, write_json
from search_spaces.common.settings import Settings, parse_settings

_FACTS, _ARRAYS = "predictor.json", "predictor.safetensors"


class _PredictorFile(Settings):
    """What `predictor.json` holds."""

    schema_version: Literal[1] = pydantic.Field(alias="schema")
    model: str
    target: str
    interval_scale: float = pydantic.Field(ge=0)
    level: float = pydantic.Field(gt=0, lt=1)
    num_features: int = pydantic.Field(ge=1)
    space: dict[str, Any]
    fingerprint: str
    arrays_sha256: str
    inputs: str
    grade: Grade


def write_predictor(predictor: Predictor, folder: Path | str, *, num_features: int) -> None:
    """Put the predictor into `folder` in one step: the old one stays until the new one is complete."""
    arrays = {name: np.ascontiguousarray(array) for name, array in predictor.model.arrays().items()}
    data = safetensors.numpy.save(arrays)
    facts = {
        "schema": 1,
        "model": predictor.name,
        "target": predictor.target,
        "interval_scale": predictor.interval_scale,
        "level": predictor.level,
        "num_features": num_features,
        "space": predictor.space_description,
        "fingerprint": predictor.space_fingerprint,
        "arrays_sha256": hashlib.sha256(data).hexdigest(),
        "inputs": predictor.inputs,
        "grade": asdict(predictor.grade),
    }
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
    model = MODELS.get(facts.model, file=folder / _FACTS, key="model")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the predictor's arrays cannot be read: {error.strerror}", file=path) from None
    if hashlib.sha256(data).hexdigest() != facts.arrays_sha256:
        raise UserError(
            f"is not the file that {_FACTS} was written with",
            file=path,
            hint="Delete this folder and fit again with `ofa fit RUN`",
        )
    try:
        fitted = model.from_arrays(safetensors.numpy.load(data), num_features=facts.num_features)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"does not hold a {facts.model} model: {error}", file=path) from None
    return Predictor(
        name=facts.model,
        model=fitted,
        target=facts.target,
        interval_scale=facts.interval_scale,
        level=facts.level,
        space_description=facts.space,
        space_fingerprint=facts.fingerprint,
        grade=facts.grade,
        inputs=facts.inputs,
    )
