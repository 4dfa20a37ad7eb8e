"""The two ways a command can end other than well: the user's mistake (exit 2) and an impossible budget (exit 3)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """A mistake the user can mend, told in one line: where (file, key), what (value), and what would be right.

    `str(error)` is the whole message. The command line prints it without a traceback and exits with `exit_code`.
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        key: str | None = None,
        value: object = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.file, self.key, self.value, self.hint = message, file, key, value, hint
        super().__init__(message)

    def __str__(self) -> str:
        where = ": ".join(str(part) for part in (self.file, self.key) if part is not None)
        text = f"{where}: {self.message}" if where else self.message
        if self.value is not None and not _mentions(self.message, repr(self.value)):
            text += f" (got {self.value!r})"
        return f"{text}. {self.hint}" if self.hint else text


def _mentions(message: str, value: str) -> bool:
    """Whether the message shows the value already, as a word of its own ("2" is not in "12" or "test_2")."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", message) is not None


class Infeasible(UserError):
    """No network of the space keeps the budgets. `details` holds what the command prints as JSON."""

    exit_code = 3

    def __init__(self, message: str, *, details: dict[str, object]) -> None:
        super().__init__(message)
        self.details = details


@contextmanager
def in_file(file: str | Path) -> Iterator[None]:
    """Mistakes found inside that name no file are of `file`."""
    try:
        yield
    except UserError as error:
        if error.file is None:
            error.file = file
        raise


def unknown_name(
    kind: str, name: object, known: Iterable[str], *, file: object = None, key: str | None = None
) -> UserError:
    """The error for a name that is in no registry: suggests the nearest known one and lists them all."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"unknown {kind} {name!r}",
        file=None if file is None else str(file),
        key=key,
        hint=f"{hint}Known: {', '.join(names) or 'none'}",
    )
