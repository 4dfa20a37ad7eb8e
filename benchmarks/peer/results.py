"""The results file: items measured at different times, side by side in one JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json

SCHEMA = 1


def read_results(path: Path) -> dict[str, Any]:
    """What is in `path`, or an empty set of results."""
    if not path.exists():
        return {"schema": SCHEMA, "machine": {}, "peer": {}, "items": {}}
    try:
        results = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"is not JSON: {error}", file=path, hint="Delete it, or choose another --output") from None
    if not isinstance(results, dict) or results.get("schema") != SCHEMA or not isinstance(results.get("items"), dict):
        raise UserError("is not a results file of this benchmark", file=path, hint="Choose another --output")
    return results


def has_result(results: dict[str, Any], key: str, *, short: bool) -> bool:
    """Whether the item was measured; what a short run left counts only for another short run."""
    entry = results["items"].get(key)
    return entry is not None and "lanes" in entry and (short or not entry["short"])


def merge(results: dict[str, Any], key: str, entry: dict[str, Any]) -> None:
    """Put in an item. A failure or an omission never takes the place of a measurement."""
    if "lanes" in entry or "lanes" not in results["items"].get(key, {}):
        results["items"][key] = entry
        results["items"] = dict(sorted(results["items"].items()))


def same_machine(results: dict[str, Any], machine: dict[str, Any]) -> bool:
    """Whether the results so far are of this machine with these versions."""
    return not results["items"] or not results["machine"] or results["machine"] == machine


def save(results: dict[str, Any], path: Path) -> None:
    write_json(path, results)
