"""What other installed packages add: Python entry points, known by name from the metadata, imported when asked for.

https://packaging.python.org/specifications/entry-points describes them; docs/plugins shows a package that has some.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True)
class Plugin:
    """A thing that an installed distribution offers under a name. `kind`: what it is to be ("runtime")."""

    kind: str
    point: EntryPoint

    @property
    def name(self) -> str:
        return self.point.name

    @property
    def distribution(self) -> str:
        """Name and version of the distribution it comes with: `ofa-example 0.1`."""
        found = self.point.dist
        return "an unknown distribution" if found is None else f"{found.name} {found.version}"

    @property
    def where(self) -> str:
        """Where somebody finds it who has to mend it."""
        return f"{self.distribution} (entry point {self.name} = {self.point.value} in {self.point.group})"

    def load(self, needs: Iterable[str]) -> object:
        """The object itself. Raises `UserError` where importing it fails, or where it lacks one of `needs`."""
        try:
            found: object = self.point.load()
        except Exception as error:  # whatever the code of others raises when it is imported
            raise self.error(f"cannot be loaded: {_told(error)}") from error
        self.check(found, needs)
        return found

    def check(self, thing: object, needs: Iterable[str]) -> None:
        """Raise `UserError` if `thing`, which is the plug-in or was made by it, lacks one of these attributes."""
        if missing := [need for need in needs if not _has(thing, need)]:
            what = "cannot be called" if missing == ["__call__"] else f"lacks {', '.join(missing)}"
            raise self.error(f"does not follow the protocol: {type(thing).__name__} {what}")

    def checked(self, make: Callable[..., object], makes: Iterable[str]) -> Callable[..., object]:
        """`make`, with what it makes checked. A missing package stays a `ModuleNotFoundError`, which callers tell."""

        def made(*args: object, **kwargs: object) -> object:
            try:
                thing = make(*args, **kwargs)
            except (UserError, ModuleNotFoundError):
                raise
            except Exception as error:
                raise self.error(f"cannot be made: {_told(error)}") from error
            self.check(thing, makes)
            return thing

        return made

    def error(self, what: str) -> UserError:
        return UserError(f"the {self.kind} {self.name!r} of a plug-in {what}", hint=f"It comes with {self.where}")


def plugins(kind: str, group: str) -> tuple[Plugin, ...]:
    """What all installed distributions offer in an entry point group, in the order of names. Nothing is imported."""
    return tuple(Plugin(kind, point) for point in sorted(_installed(), key=lambda p: p.name) if point.group == group)


def forget_plugins() -> None:
    """Look anew at what is installed, where that changes while a program runs."""
    _installed.cache_clear()


@cache
def _installed() -> tuple[EntryPoint, ...]:
    """All entry points of groups for this project. Read once: it takes some ten milliseconds."""
    from importlib.metadata import entry_points

    found = entry_points()
    return tuple(point for group in found.groups if group.startswith("ofa.") for point in found.select(group=group))


def _has(thing: object, name: str) -> bool:
    """Whether there is such an attribute, without computing a property."""
    try:
        inspect.getattr_static(thing, name)
    except AttributeError:
        return hasattr(thing, name)
    return True


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
