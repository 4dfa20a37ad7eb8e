"""What went wrong with a form: whether it is the form's own failure, and how it is told."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Any

from search_spaces.common.errors import UserError

#: what the disk says: no form can be written then
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}

_MOST_CHARACTERS = 400


@dataclass(frozen=True)
class Failure:
    """Why a form is not there. `operator` (its key) and `slot` are known where one of the network's is to blame;
    `install` is what brings a package that was missing.
    """

    message: str
    operator: str | None = None
    slot: str | None = None
    install: str | None = None

    def facts(self) -> dict[str, Any]:
        """As the report has it."""
        return {"message": self.message, "operator": self.operator, "slot": self.slot}


class FormFailed(Exception):
    """One form could not be made; nothing of it was left."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def reason_of(error: BaseException) -> str:
    """In one line: a `UserError` whole, of others the first line, which is where converters say it."""
    if isinstance(error, UserError):
        text = " ".join(str(error).split())
    else:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 4]} ..."


def spoils_everything(error: BaseException | None) -> bool:
    """Whether the disk is the reason, somewhere down the chain: then no other form fares better."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK:
            return True
        error = error.__cause__ or error.__context__
    return False
