"""Markdown from values: what a user named can neither break a table nor become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: what means something within a line (CommonMark, and GitHub's tables); `_` does not inside a word
_MEANINGFUL = re.compile(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))")


def escape(text: object) -> str:
    """Any text within a line or a cell of a table, as itself."""
    flat = " ".join(str(text).split())
    entities = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MEANINGFUL.sub(r"\\\1", entities)


def code(text: object) -> str:
    """Text without backticks or pipes as code."""
    assert not set("`|\n") & set(str(text))
    return f"`{text}`"


def fenced(text: str, language: str) -> str:
    """A block of code, whatever it holds."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Cells are Markdown; the `left` first columns are text, the others numbers, which stand to the right."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(title: str, *parts: str | None) -> str:
    return "\n\n".join([f"## {title}", *(part for part in parts if part)])


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
