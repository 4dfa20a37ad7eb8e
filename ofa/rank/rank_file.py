"""`rank.json`: what `ofa rank` found out about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json

FOLDER, FILE, SCHEMA = "rank", "rank.json", 1
_KEYS = {"weights_sha256": str, "predictor": dict, "predicted": dict, "sensitivity": dict}


def read_ranking(run: Path) -> dict[str, Any]:
    """The ranking report in a run folder. Raises `UserError` if there is none or the file is not one."""
    path = Path(run) / FILE
    again = f"Make it again with: ofa rank {run}"
    facts = read_json(path, "ranking report")
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise UserError(f"not a ranking report of schema {SCHEMA}", file=path, hint=again)
    for key, kind in _KEYS.items():
        if not isinstance(facts.get(key), kind):
            raise UserError("missing from this ranking report, or of the wrong type", file=path, key=key, hint=again)
    return facts
