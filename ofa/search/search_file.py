"""What `search.json` must hold before anything else believes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pydantic

from search_spaces.common.settings import parse_settings


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)


class _Network(_Part):
    key: str
    architecture: dict[str, Any]
    predicted_accuracy: dict[str, float]
    predicted_costs: dict[str, float]
    measured: dict[str, dict[str, Any]]
    selection_accuracy: float | None
    int8_accuracy: float | None = None


class _Candidate(_Network):
    status: str


class _Budget(_Part):
    name: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    limits: dict[str, float]
    written: dict[str, str]
    algorithm: str
    num_scored: int
    rounds: int
    chosen_by: Literal["selection_accuracy", "int8_accuracy"] = "selection_accuracy"
    winner: _Network
    candidates: list[_Candidate]


class _Search(_Part):
    weights_sha256: str
    budgets: list[_Budget] = pydantic.Field(min_length=1)
    fronts: dict[str, list[dict[str, Any]]]


def check_search(data: Any, *, file: Path) -> dict[str, Any]:
    """`data` itself. Raises `UserError` with file and key for what is missing or of the wrong type."""
    parse_settings(_Search, data, file=file)
    result: dict[str, Any] = data
    return result
