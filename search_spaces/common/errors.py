"""How a command can end other than well: the user's mistake (exit 2), an impossible budget (exit 3), a stop (143)."""

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
            text += f" (got {_shortened(repr(self.value))})"
        return f"{text}. {self.hint}" if self.hint else text


def _shortened(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def _mentions(message: str, value: str) -> bool:
    """Whether the message shows the value already, as a word of its own ("2" is not in "12" or "test_2")."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", message) is not None


class Infeasible(UserError):
    """No network of the space keeps the budgets. `details` holds what the command prints as JSON."""

    exit_code = 3

    def __init__(self, message: str, *, details: dict[str, object]) -> None:
        super().__init__(message)
        self.details = details


class Stopped(BaseException):
    """Work that was asked to stop by a signal, and did, with nothing lost that is worth telling but what `str` says.

    No `Exception`, as `KeyboardInterrupt` is none: nothing on the way out may take it for a failure. `exit_code` is
    143 (128 + SIGTERM), for a stop from the keyboard 130 (128 + SIGINT).
    """

    def __init__(self, message: str, *, exit_code: int = 143) -> None:
        self.exit_code = exit_code
        super().__init__(message)


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
