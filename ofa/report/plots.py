"""Charts on a page: a figure that carries its own numbers as JSON, which `assets/charts.js` draws with Plotly.

Without JavaScript a figure says in words what it would show, and where the numbers stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ofa.report.markup import Markup, raw_json, tag

#: how an axis reads: shares in 0..1 are shown in per cent, counts of steps shortened
Format = Literal["number", "percent"]


@dataclass(frozen=True)
class Axis:
    """What a chart's side shows."""

    title: str
    format: Format = "number"

    @property
    def facts(self) -> dict[str, str]:
        return {"title": self.title, "format": self.format}


@dataclass(frozen=True)
class Point:
    """One dot; `lower` and `upper` are the ends of its interval in y, and `tip` is what is said of it, line by line."""

    x: float
    y: float
    tip: str
    lower: float | None = None
    upper: float | None = None

    @property
    def facts(self) -> list[Any]:
        return [self.x, self.y, self.tip, self.lower, self.upper]


def agreement(
    *, name: str, title: str, axis: Axis, points: Sequence[Point], band: float | None = None, caption: str | None = None
) -> Markup:
    """Measured (x) against predicted (y) with the line of perfect agreement, both axes alike.

    `band` draws the corridor of that relative error (0.1: within 10 %).
    """
    facts = {"axis": axis.facts, "points": [point.facts for point in points], "band": band}
    description = f"{len(points)} networks; the closer to the diagonal, the better the prediction."
    return figure(name=name, kind="agreement", title=title, description=description, facts=facts, caption=caption)


def curves(
    *,
    name: str,
    title: str,
    axis: Axis,
    curves: Mapping[str, Sequence[Sequence[float]]],
    x_title: str = "training step",
    caption: str | None = None,
) -> Markup:
    """One line for each of `curves`: label -> (x, y) points. Lines differ by dashes as well as by colour."""
    ends = (f"{label} ends at {_end(curve[-1][1], axis)}" for label, curve in curves.items() if curve)
    return figure(
        name=name,
        kind="curves",
        title=title,
        description="Curves: " + ", ".join(ends) + ".",
        facts={
            "axis": axis.facts,
            "x_title": x_title,
            "curves": {label: list(curve) for label, curve in curves.items()},
        },
        caption=caption,
    )


def progress(
    *, name: str, title: str, axis: Axis, points: Iterable[tuple[str, float, str]], caption: str | None = None
) -> Markup:
    """What was found one after another, with the best so far: (group, value, tip) in the order of arrival."""
    found = list(points)
    best = max((value for _, value, _ in found), default=0.0)
    return figure(
        name=name,
        kind="progress",
        title=title,
        description=f"{len(found)} evaluations, the best of them {_end(best, axis)}.",
        facts={"axis": axis.facts, "points": found},
        caption=caption,
    )


def figure(
    *, name: str, kind: str, title: str, description: str, facts: Mapping[str, Any], caption: str | None = None
) -> Markup:
    """A chart of a `kind` that the script knows; `name` is unique on the page and ends up in the element's id.

    `title` and `description` are what a screen reader says, and what stands there until the chart is drawn.
    """
    return tag(
        "figure",
        tag("div", id=name, class_="plot", role="img", aria_label=f"{title}. {description}"),
        tag("p", tag("b", f"{title}. "), description, class_="instead note"),
        tag("script", raw_json({"kind": kind, "title": title, **facts}), type="application/json", class_="facts"),
        tag("figcaption", caption) if caption else None,
        class_="chart",
    )


def _end(value: float, axis: Axis) -> str:
    return f"{100 * value:.2f} %" if axis.format == "percent" else f"{value:.4g}"


def place(*, name: str, label: str, instead: str | None = None, caption: str | None = None) -> Markup:
    """Where the script puts a chart that it makes from the page's data block."""
    return tag(
        "figure",
        tag("div", id=name, class_="plot", role="img", aria_label=label),
        tag("p", instead, class_="instead note") if instead else None,
        tag("figcaption", caption) if caption else None,
        class_="chart",
    )
