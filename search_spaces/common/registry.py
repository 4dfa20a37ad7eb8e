"""Names to things. A config names a registry entry, never a Python path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from search_spaces.common.errors import unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """A named, ordered collection of one kind of thing; an unknown name is a `UserError` that suggests the nearest."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files its argument under `name`."""

        def file(entry: T) -> T:
            assert name not in self._entries, f"{self.kind} {name!r} is registered twice"
            self._entries[name] = entry
            return entry

        return file

    def get(self, name: str, *, file: object = None, key: str | None = None) -> T:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries, file=file, key=key)
        return self._entries[name]

    def names(self) -> list[str]:
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries
