"""Figures of the comparison: each carries its numbers as JSON for `assets/compare.js`, and says them in words or a
table where there is no JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa import text
from ofa.report.marks import swatch
from ofa.report.markup import Markup, join, raw_json, tag

Facts = dict[str, Any]


def front_figure(name: str, cost: Facts, labels: Sequence[str]) -> Markup:
    """`cost` is an entry of a comparison's `fronts`."""
    title = f"Accuracy against {cost['title']}"
    told = [f"{labels[front['run']]}: {front['num_records']} networks evaluated" for front in cost["fronts"]]
    return join(tag("h3", title), _figure(name, "front", title, "; ".join(told) + ".", cost, labels))


def front_table(cost: Facts, labels: Sequence[str]) -> Markup | None:
    """The networks on each run's front, to be read without a script."""
    rows = [
        tag(
            "tr",
            tag("td", swatch(front["run"]), " ", labels[front["run"]]),
            tag("td", tag("code", key)),
            tag("td", text.cost(value, cost["metric"])),
            tag("td", text.share(accuracy)),
        )
        for front in cost["fronts"]
        for value, accuracy, key, on_front in front["records"]
        if on_front
    ]
    if not rows:
        return None
    head = tag("tr", [tag("th", name, scope="col") for name in ("run", "network", cost["title"], "selection accuracy")])
    table = tag("div", tag("table", tag("thead", head), tag("tbody", rows)), class_="scroll")
    return tag("details", tag("summary", f"The fronts in numbers: {cost['title']}"), table)


def curves_figure(
    name: str, title: str, kind: str, curves: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> Markup:
    """`kind`: `accuracy` or `loss`; the role that most runs have is shown first, of others `largest`."""
    roles = [role for run in curves for role in run[kind]]
    order = sorted(dict.fromkeys(roles), key=lambda role: (-roles.count(role), role != "largest"))
    facts = {
        "roles": order,
        "percent": kind == "accuracy",
        "title": title.lower(),
        "runs": [run[kind] for run in curves],
    }
    ends = [
        f"{labels[number]} ends at {_shown(points[-1][2], kind)} ({role})"
        for number, run in enumerate(curves)
        for role, points in run[kind].items()
    ]
    choices = tag(
        "div",
        [
            tag("button", role, type="button", data_role=role, aria_pressed="true" if index == 0 else "false")
            for index, role in enumerate(order)
        ],
        class_="chooser",
        role="group",
        aria_label=f"Subnets whose {title.lower()} is drawn",
        hidden=True,
    )
    return tag("div", tag("h3", title), choices, _figure(name, "curves", title, "; ".join(ends) + ".", facts, labels))


def _figure(name: str, kind: str, title: str, description: str, facts: Facts, labels: Sequence[str]) -> Markup:
    content = {"kind": kind, "labels": list(labels), **facts}
    return tag(
        "figure",
        tag("div", id=name, class_="plot", role="img", aria_label=f"{title}. {description}"),
        tag("p", tag("b", f"{title}. "), description, class_="instead note"),
        tag("script", raw_json(content), type="application/json", class_="comparison"),
        class_="chart",
    )


def _shown(value: float, kind: str) -> str:
    return text.share(value) if kind == "accuracy" else f"{value:.3g}"
