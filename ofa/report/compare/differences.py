"""What two configs or more say differently, key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: says who a run is, not what it does
_IGNORED = ("name",)


class Absent:
    """Stands for a key that a config has not."""


ABSENT = Absent()


def config_differences(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The keys, as `a.b`, whose values are not the same in all; `values` in the order of the configs.

    A value is JSON text; None where a config has no such key. Entries of lists that have names (devices) are found by
    them, not by their place.
    """
    flat = [flatten({key: value for key, value in config.items() if key not in _IGNORED}) for config in configs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    rows = []
    for key in keys:
        values = [one.get(key, ABSENT) for one in flat]
        if any(value != values[0] for value in values[1:]):
            texts = [None if isinstance(value, Absent) else json.dumps(value, ensure_ascii=False) for value in values]
            rows.append({"key": key, "values": texts})
    return rows


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`. Lists stay whole unless all their entries have names."""
    if isinstance(value, list) and value and all(isinstance(entry, Mapping) and "name" in entry for entry in value):
        value = {str(entry["name"]): {k: v for k, v in entry.items() if k != "name"} for entry in value}
    if not isinstance(value, Mapping) or not value:
        return {path: value} if path else {}
    found: dict[str, Any] = {}
    for key, part in value.items():
        found |= flatten(part, f"{path}.{key}" if path else str(key))
    return found
