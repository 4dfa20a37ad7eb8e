"""The comparison as one HTML page that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from ofa import text
from ofa.report.compare.charts import curves_figure, front_figure, front_table
from ofa.report.compare.networks import budgets_section, winners_section
from ofa.report.compare.tables import Cell, cell, interval, section, table
from ofa.report.compare.words import hours, total_macs
from ofa.report.markup import Markup, tag
from ofa.report.page import document
from ofa.report.script import asset

Facts = dict[str, Any]

#: of the report page's files, what the charts here are made of
_PARTS = ("text", "theme", "plots")


def render_comparison(comparison: Facts) -> str:
    """The page of a comparison made by `compare`."""
    labels = [run["label"] for run in comparison["runs"]]
    title = " · ".join(labels)
    body = tag(
        "main",
        tag("h1", "Runs compared"),
        tag("p", title, class_="lead"),
        _caveats(comparison["caveats"]),
        _summary(comparison),
        budgets_section(comparison, labels),
        _fronts(comparison, labels),
        _training(comparison, labels),
        _differences(comparison, labels),
        winners_section(comparison, labels),
        tag("script", _script()),
    )
    return document(f"{title} – compared", body, {})


def _caveats(sentences: list[str]) -> Markup | None:
    if not sentences:
        return None
    items = tag("ul", [tag("li", sentence) for sentence in sentences])
    return tag("div", tag("b", "Before you compare:"), items, class_="missing", id="caveats")


def _summary(comparison: Facts) -> Markup:
    """One column a run."""
    runs = comparison["runs"]
    rows: list[tuple[str, list[Cell]]] = [
        ("space", [_of(run["space"], lambda space: (space["name"], _networks(space))) for run in runs]),
        ("data", [_of(run["data"], lambda data: (data["name"], f"{data['num_classes']} classes")) for run in runs]),
        ("training", [_of(run["training"], _cost) for run in runs]),
        (
            "largest subnet, test",
            [_of(run["largest"], lambda one: (text.share(one["value"]), interval(one))) for run in runs],
        ),
        (
            "best network, test",
            [
                _of(run["best"], lambda one: (text.share(one["test"]), f"{interval(one)}, “{one['name']}”"))
                for run in runs
            ],
        ),
        ("evaluated networks", [(str(run["num_records"]), None) for run in runs]),
        (
            "accuracy predictor",
            [_of(run["predictor"], lambda one: (f"τ {text.estimate(one['tau'])}", one["model"])) for run in runs],
        ),
    ]
    body = [tag("tr", tag("th", name, scope="row"), [cell(*one) for one in cells]) for name, cells in rows]
    body.append(tag("tr", tag("th", "error of tables", scope="row"), [tag("td", _table_errors(run)) for run in runs]))
    note = (
        "Best is the network most accurate on the selection split; the test split only says how good it is. Accuracies "
        "with their 95 % interval (Wilson). A predictor's grade is Kendall's τ on records it was not fitted on, a "
        "table's error that on whole networks it was not fitted on."
    )
    return section("summary", "The runs", note, table(("", *(run["label"] for run in runs)), body, runs_from=1))


def _of(facts: Facts | None, shown: Callable[[Facts], Cell]) -> Cell:
    return (None, None) if facts is None else shown(facts)


def _networks(space: Facts) -> str:
    return f"{text.networks(space['size'])} networks"


def _cost(training: Facts) -> Cell:
    if training["macs"] is None:
        return None, None
    took = [] if training["hours"] is None else [hours(training["hours"])]
    took += [] if training["steps"] is None else [f"{training['steps']:,} steps"]
    return total_macs(training["macs"]), ", ".join(took)


def _table_errors(run: Facts) -> list[Markup] | str:
    errors = {
        name: "published" if error is None else text.share(error["mape"], 1)
        for name, error in run["table_errors"].items()
    }
    errors |= dict.fromkeys(run["boards"], "counted, not timed")
    return [tag("div", error, tag("small", name)) for name, error in errors.items()] or "–"


def _fronts(comparison: Facts, labels: list[str]) -> Markup:
    overlaid = [cost for cost in comparison["fronts"] if cost["overlaid"]]
    alone = [cost for cost in comparison["fronts"] if not cost["overlaid"]]
    note = (
        "Lines are the fronts of the networks that were evaluated, dots the networks, large marks the winners at their "
        "measured cost; accuracies are those on the selection split. Runs share a chart only where their devices are "
        "the same in everything that decides a measurement. A run is hidden and shown by its name under the chart."
    )
    numbered = list(enumerate([*overlaid, *alone]))
    figures = [(front_figure(f"front-{i}", cost, labels), front_table(cost, labels)) for i, cost in numbered]
    together = [tag("div", parts) for parts in figures[: len(overlaid)]]
    side_by_side = tag("div", [tag("div", parts) for parts in figures[len(overlaid) :]], class_="pair")
    apart = (tag("p", "Costs that one run alone knows, side by side:", class_="note"), side_by_side) if alone else ()
    return section("fronts", "Accuracy against cost", note, *together, *apart)


def _training(comparison: Facts, labels: list[str]) -> Markup | None:
    curves = comparison["training"]
    if not any(run["loss"] or run["accuracy"] for run in curves):
        return None
    note = (
        "Multiply-accumulates of training steps (forward, backward, teacher) are what recipes can be compared by: "
        "their steps cost differently. Points of the loss are means over several steps."
    )
    choices = tag(
        "div",
        [
            tag("button", label, type="button", data_axis=axis, aria_pressed="true" if axis == "macs" else "false")
            for axis, label in (("macs", "by MACs spent"), ("step", "by step"))
        ],
        class_="chooser",
        role="group",
        aria_label="What training curves are drawn against",
        hidden=True,
    )
    figures = [
        curves_figure(f"curves-{kind}", title, kind, curves, labels)
        for kind, title in (("accuracy", "Selection accuracy"), ("loss", "Training loss"))
    ]
    return section("training", "Training", note, choices, tag("div", figures, class_="pair"))


def _differences(comparison: Facts, labels: list[str]) -> Markup:
    rows = [
        tag(
            "tr",
            tag("td", tag("code", row["key"])),
            [tag("td", "–" if value is None else tag("code", value), class_="text") for value in row["values"]],
        )
        for row in comparison["differences"]
    ]
    if not rows:
        return section("differences", "Settings", "The configs of all runs say the same, but for their names.")
    note = "Only what differs. A dash: this config says nothing of the key, as one written before it existed."
    return section("differences", "Settings", note, table(("key", *labels), rows, runs_from=1, words=True))


def _script() -> Markup:
    """What the report page's charts are made of, and this page's own, in a closure of their own."""
    own = (resources.files("ofa.report.compare") / "assets" / "compare.js").read_text(encoding="utf-8")
    body = "\n".join([*(asset(f"{part}.js") for part in _PARTS), own])
    return Markup(f'(() => {{\n"use strict";\n{body}\n}})();')
