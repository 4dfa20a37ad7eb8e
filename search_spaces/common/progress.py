"""Progress bars on stderr with an ETA, for everything that can take over two seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


@contextmanager
def progress_bar(description: str, total: int, *, done: int = 0, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Yields `advance(steps=1, note="")`. Shown only on a terminal."""
    console = Console(file=sys.stderr)
    if quiet or not console.is_terminal:
        yield lambda steps=1, note="": None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(description, total=total, completed=done, note="")
        yield lambda steps=1, note="": bar.update(task, advance=steps, note=note)


def track(items: Iterable[T], description: str, total: int, *, quiet: bool = False) -> Iterator[T]:
    """Iterate over `items` under a progress bar."""
    with progress_bar(description, total, quiet=quiet) as advance:
        for item in items:
            yield item
            advance()
