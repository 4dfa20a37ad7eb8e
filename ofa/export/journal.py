"""The journal of measured exports: what was timed once is not timed again after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import read_lines


def find_measured(journal: Path, key: str) -> dict[str, Any] | None:
    """The measurement that was entered under `key`."""
    for number, line in enumerate(read_lines(journal, "measurement journal"), start=1):
        if not isinstance(line, dict) or not isinstance(line.get("measured"), dict):
            raise UserError(
                f"line {number} is not a measurement", file=journal, hint="Delete the file to measure again"
            )
        if line.get("key") == key:
            measured: dict[str, Any] = line["measured"]
            return measured
    return None
