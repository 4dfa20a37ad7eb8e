"""Sections and tables of the page of a comparison."""

from __future__ import annotations

from typing import Any

from ofa.report.marks import swatch
from ofa.report.markup import Markup, tag

Facts = dict[str, Any]

#: what a table's cell says, and below it in small letters
Cell = tuple[str | None, str | None]


def section(name: str, title: str, note: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h2", title), tag("p", note, class_="note"), *content, id=name)


def table(head: tuple[str, ...], rows: list[Markup], *, runs_from: int | None = None, words: bool = False) -> Markup:
    """`runs_from`: the column from which on columns are runs, and bear their marks. `words`: cells hold text."""
    titles = [
        tag(
            "th",
            *((swatch(i - runs_from), " ") if runs_from is not None and i >= runs_from else ()),
            name,
            scope="col",
            class_="text" if words else None,
        )
        for i, name in enumerate(head)
    ]
    return tag("div", tag("table", tag("thead", tag("tr", titles)), tag("tbody", rows)), class_="scroll")


def run_cell(index: int, label: str, small: str | None) -> Markup:
    return tag("td", swatch(index), " ", label, tag("small", small) if small else None)


def cell(value: str | None, small: str | None = None) -> Markup:
    return tag("td", value or "–", tag("small", small) if value and small else None)


def interval(estimate: Facts) -> str:
    return f"{100 * estimate['lower']:.1f} to {100 * estimate['upper']:.1f}"
