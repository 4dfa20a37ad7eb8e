"""The registry of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from search_spaces.common.errors import UserError
from search_spaces.common.registry import Registry
from trainers.data.sources.base import SourceData
from trainers.settings.data import DataSettings

#: `path` is `settings.path` made absolute, or None if it was left out.
Source: TypeAlias = Callable[[DataSettings, Path | None], SourceData]
SOURCES: Registry[Source] = Registry("data set", entry_points="ofa.data_sources", needs=("__call__",))


def needed_path(settings: DataSettings, path: Path | None, what: str) -> Path:
    """`path`, which must exist; `what` says what it should be."""
    if path is None:
        raise UserError(
            f"this key is required: {what}", key="data.path", hint=f"Data set {settings.name!r} has no default"
        )
    if not path.exists():
        raise UserError(f"no such file or folder; {settings.name!r} needs {what}", file=path, key="data.path")
    return path


def no_path(settings: DataSettings, path: Path | None) -> None:
    if path is not None:
        raise UserError(
            f"data set {settings.name!r} is not read from a path", key="data.path", value=str(settings.path)
        )
