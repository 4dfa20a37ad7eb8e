"""`Architecture`: the frozen, hashable value that people see, and its JSON form and short name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from search_spaces.common.errors import UserError

#: what one choice can be; None marks an entry that is switched off
Value = int | float | str | None


class Architecture:
    """One network of a space: for every group of choices a value, or a tuple of values in order.

    `Architecture({"resolution": 28, "depth": (2, 3), "kernel": (3, 5, None, 7)})`. Entries that are switched off
    (blocks beyond the depth) are None, so equal networks are equal values with equal hashes.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        frozen = {
            name: tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else _plain(value)
            for name, value in values.items()
        }
        self.values: Mapping[str, Value | tuple[Value, ...]] = MappingProxyType(frozen)

    @classmethod
    def of_plain(cls, values: dict[str, Value | tuple[Value, ...]]) -> Architecture:
        """Of values that are tuples and numbers in their plain form already, as a genome's are; taken as they are."""
        architecture = cls.__new__(cls)
        architecture.values = MappingProxyType(values)
        return architecture

    @cached_property
    def _identity(self) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted(self.values.items()))

    @property
    def resolution(self) -> int:
        """Side of the square input in pixels."""
        value = self.values["resolution"]
        assert isinstance(value, int)
        return value

    @cached_property
    def key(self) -> str:
        """12 hex digits that name this architecture in files."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self.values.items()}

    @classmethod
    def from_json(cls, data: Any, *, file: str | Path | None = None) -> Architecture:
        """The reverse of `to_json`. Raises `UserError` on anything but a mapping of names to values or flat lists."""
        if not isinstance(data, dict) or not data:
            raise UserError(
                "not an architecture", file=file, value=data, hint='Expected {"resolution": 28, "depth": [2, ...], ...}'
            )
        for name, value in data.items():
            entries = value if isinstance(value, list) else [value]
            for entry in entries:
                if isinstance(entry, bool) or not isinstance(entry, (int, float, str, type(None))):
                    raise UserError("not a number, a word or null", file=file, key=str(name), value=entry)
        return cls(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Architecture) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Any]]]:
        return Architecture, (dict(self.values),)  # a mapping proxy cannot be copied

    def __repr__(self) -> str:
        return f"Architecture({json.dumps(self.to_json())})"


def _plain(value: Any) -> Any:
    """3 for 3.0: equal architectures must have equal names."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
