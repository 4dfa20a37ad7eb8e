"""Names to things. A config names a registry entry, never a Python path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar, cast

from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.plugins import Plugin, plugins

T = TypeVar("T")


class Registry(Generic[T]):
    """A named, ordered collection of one kind of thing; an unknown name is a `UserError` that suggests the nearest.

    With `entry_points`, the name of a group of them, it also holds what installed packages offer there: such names are
    known without importing anything, and the thing is imported when it is asked for. It must have the attributes
    `needs`, and what it returns when it is called those of `makes`.
    """

    def __init__(
        self, kind: str, *, entry_points: str | None = None, needs: tuple[str, ...] = (), makes: tuple[str, ...] = ()
    ) -> None:
        self.kind, self.entry_points = kind, entry_points
        self._needs, self._makes = needs, makes
        self._entries: dict[str, T] = {}
        self._loaded: dict[Plugin, T] = {}

    def register(self, name: str, *, replace: bool = False) -> Callable[[T], T]:
        """Decorator that files its argument under `name`. `UserError` where that is taken, unless `replace`."""

        def file(entry: T) -> T:
            if name in self._entries and not replace:
                raise UserError(f"the {self.kind} {name!r} is registered already", hint="Give another name, or replace")
            self._entries[name] = entry
            return entry

        return file

    def get(self, name: str, *, file: object = None, key: str | None = None) -> T:
        """The entry of that name. `UserError` for an unknown name, one that is taken twice, or a broken plug-in."""
        offers = [plugin for plugin in self.plugins() if plugin.name == name]
        if name in self._entries and not offers:
            return self._entries[name]
        if not offers:
            raise self.unknown(name, file=file, key=key)
        try:
            return self._plugged(name, offers)
        except UserError as error:
            error.file, error.key = None if file is None else str(file), key
            raise

    def names(self) -> list[str]:
        """Those of this project in the order they were registered, then those of plug-ins."""
        return list(dict.fromkeys([*self._entries, *(plugin.name for plugin in self.plugins())]))

    def plugins(self) -> tuple[Plugin, ...]:
        """What installed packages offer, whether it works or not."""
        return () if self.entry_points is None else plugins(self.kind, self.entry_points)

    def unknown(
        self, name: object, *, also: Iterable[str] = (), file: object = None, key: str | None = None
    ) -> UserError:
        """The error for a name that is not here; it says which names come from plug-ins. `also`: what else will do, a
        registry perhaps.
        """
        error = unknown_name(self.kind, name, [*also, *self.names()], file=file, key=key)
        offered = (*(also.plugins() if isinstance(also, Registry) else ()), *self.plugins())
        if told := [f"{plugin.name} of {plugin.distribution}" for plugin in offered]:
            error.hint = f"{error.hint}. From plug-ins: {', '.join(told)}"
        return error

    def __contains__(self, name: object) -> bool:
        return name in self._entries or any(plugin.name == name for plugin in self.plugins())

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _plugged(self, name: str, offers: list[Plugin]) -> T:
        """What the one plug-in of that name offers; which of two is meant nobody can tell."""
        others = ["this project itself"] if name in self._entries else []
        others += [plugin.where for plugin in offers]
        if len(others) > 1:
            what = f"two have the name of the {self.kind} {name!r}: {' and '.join(others)}"
            raise UserError(what, hint="Uninstall one of them, or have it renamed")
        (plugin,) = offers
        if plugin not in self._loaded:
            thing = plugin.load((*self._needs, *(("__call__",) if self._makes else ())))
            if self._makes:
                thing = plugin.checked(cast(Callable[..., object], thing), self._makes)
            self._loaded[plugin] = cast(T, thing)
        return self._loaded[plugin]
