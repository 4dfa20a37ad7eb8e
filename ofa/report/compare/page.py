"""The comparison as one HTML page that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from ofa.report import text
from ofa.report.compare.charts import curves_figure, front_figure, front_table
from ofa.report.compare.words import total_macs
from ofa.report.marks import swatch
from ofa.report.markup import Markup, tag
from ofa.report.page import document
from ofa.report.script import asset

Facts = dict[str, Any]

#: what a table's cell says, and below it in small letters
Cell = tuple[str | None, str | None]

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
        _budgets(comparison, labels),
        _fronts(comparison, labels),
        _training(comparison, labels),
        _differences(comparison, labels),
        _winners(comparison, labels),
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
            [_of(run["largest"], lambda one: (text.share(one["value"]), _interval(one))) for run in runs],
        ),
        (
            "best network, test",
            [
                _of(run["best"], lambda one: (text.share(one["test"]), f"{_interval(one)}, “{one['name']}”"))
                for run in runs
            ],
        ),
        ("evaluated networks", [(str(run["num_records"]), None) for run in runs]),
        (
            "accuracy predictor",
            [_of(run["predictor"], lambda one: (f"τ {text.estimate(one['tau'])}", one["model"])) for run in runs],
        ),
    ]
    body = [tag("tr", tag("th", name, scope="row"), [_cell(*cell) for cell in cells]) for name, cells in rows]
    body.append(tag("tr", tag("th", "error of tables", scope="row"), [tag("td", _table_errors(run)) for run in runs]))
    note = (
        "Best is the network most accurate on the selection split; the test split only says how good it is. Accuracies "
        "with their 95 % interval (Wilson). A predictor's grade is Kendall's τ on records it was not fitted on, a "
        "table's error that on whole networks it was not fitted on."
    )
    return _section("summary", "The runs", note, _table(("", *(run["label"] for run in runs)), body, runs_from=1))


def _of(facts: Facts | None, shown: Callable[[Facts], Cell]) -> Cell:
    return (None, None) if facts is None else shown(facts)


def _networks(space: Facts) -> str:
    return f"{text.networks(space['size'])} networks"


def _cost(training: Facts) -> Cell:
    if training["macs"] is None:
        return None, None
    return total_macs(training["macs"]), f"{_hours(training['hours'])}, {training['steps']:,} steps"


def _table_errors(run: Facts) -> list[Markup] | str:
    errors = {
        name: "published" if error is None else text.share(error["mape"], 1)
        for name, error in run["table_errors"].items()
    }
    errors |= dict.fromkeys(run["boards"], "counted, not timed")
    return [tag("div", error, tag("small", name)) for name, error in errors.items()] or "–"


def _budgets(comparison: Facts, labels: list[str]) -> Markup:
    note = (
        "Of every run the network most accurate on the selection split among its winners and its largest subnet that "
        "keep the budget, at the cost measured (where it was) on the exported file. Budgets within 2 % of each other "
        "are one, the looser. Below each: by how much the better is better on the test split, with the 95 % interval "
        "of two independent proportions (Newcombe). Networks tested on the same images could be compared more sharply "
        "if each image's outcome were stored, which it is not."
        + ("" if any(row["limits"] for row in comparison["budgets"]) else " No budget limits what two runs know.")
    )
    titles = {cost["name"]: cost for cost in comparison["costs"]}
    rows: list[Markup] = []
    for row in comparison["budgets"]:
        limits = [
            tag("div", text.cost(limit, titles[name]["metric"]), tag("small", titles[name]["title"]))
            for name, limit in row["limits"].items()
        ]
        limits = limits or [tag("div", "any cost")]
        known = zip(row["networks"], row["known"], strict=True)
        rows.append(tag("tr", tag("td", limits), [_budget_cell(one, row["limits"], knows) for one, knows in known]))
        sentences = [tag("div", _difference(pair, labels)) for pair in row["differences"]]
        if sentences:
            rows.append(tag("tr", tag("td", sentences, colspan=1 + len(labels), class_="text note")))
    return _section("budgets", "The same budget", note, _table(("at most", *labels), rows, runs_from=1))


def _budget_cell(network: Facts | None, limits: Facts, known: bool) -> Markup:
    if network is None:
        keeps = "no tested network keeps it" if limits else "none tested yet"
        return tag("td", keeps if known else "cost not known", class_="note")
    costs = ", ".join(
        text.cost(network["costs"][name], name.partition("@")[0])
        + (" measured" if name in network["measured"] else " predicted")
        for name in limits
    )
    return tag(
        "td",
        text.share(network["test"]),
        tag("small", f"{_interval(network)}{' in int8' if network['precision'] == 'int8' else ''}"),
        tag("small", f"“{network['name']}” {network['key']}"),
        tag("small", costs),
    )


def _difference(pair: Facts, labels: list[str]) -> str:
    value, lower, upper = (f"{100 * pair[key]:+.2f}" for key in ("value", "lower", "upper"))
    better, worse = labels[pair["better"]], labels[pair["worse"]]
    verdict = "more than chance" if pair["distinct"] else "may be chance: the interval holds 0"
    return f"{better} against {worse}: {value} points ({lower} to {upper}); {verdict}."


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
    return _section("fronts", "Accuracy against cost", note, *together, *apart)


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
    return _section("training", "Training", note, choices, tag("div", figures, class_="pair"))


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
        return _section("differences", "Settings", "The configs of all runs say the same, but for their names.")
    note = "Only what differs. A dash: this config says nothing of the key, as one written before it existed."
    return _section("differences", "Settings", note, _table(("key", *labels), rows, runs_from=1, words=True))


def _winners(comparison: Facts, labels: list[str]) -> Markup | None:
    """Every tested network of every run."""
    titles = {cost["name"]: cost for cost in comparison["costs"]}
    rows = []
    for number, networks in enumerate(comparison["tested"]):
        for network in networks:
            costs = [
                tag(
                    "div",
                    text.cost(value, titles[name]["metric"]),
                    tag("small", f"{titles[name]['title']}{'' if name in network['measured'] else ', predicted'}"),
                )
                for name, value in network["costs"].items()
                if "@" in name
            ]
            rows.append(
                tag(
                    "tr",
                    _run_cell(number, labels[number], f"“{network['name']}” {network['key']}"),
                    tag("td", costs or "–"),
                    tag("td", text.count(network["costs"].get("macs"), "macs")),
                    tag("td", text.count(network["costs"].get("params"), "params")),
                    tag("td", text.share(network["selection"])),
                    _cell(text.share(network["test"]), f"{_interval(network)}, {network['precision']}"),
                )
            )
    if not rows:
        return None
    head = ("network", "cost", "MACs", "parameters", "selection", "test")
    return _section("winners", "Networks side by side", "Winners and largest subnets, as tested.", _table(head, rows))


def _section(name: str, title: str, note: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h2", title), tag("p", note, class_="note"), *content, id=name)


def _table(head: tuple[str, ...], rows: list[Markup], *, runs_from: int | None = None, words: bool = False) -> Markup:
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


def _run_cell(index: int, label: str, small: str | None) -> Markup:
    return tag("td", swatch(index), " ", label, tag("small", small) if small else None)


def _cell(value: str | None, small: str | None = None) -> Markup:
    return tag("td", value or "–", tag("small", small) if value and small else None)


def _interval(estimate: Facts) -> str:
    return f"{100 * estimate['lower']:.1f} to {100 * estimate['upper']:.1f}"


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _script() -> Markup:
    """What the report page's charts are made of, and this page's own, in a closure of their own."""
    own = (resources.files("ofa.report.compare") / "assets" / "compare.js").read_text(encoding="utf-8")
    body = "\n".join([*(asset(f"{part}.js") for part in _PARTS), own])
    return Markup(f'(() => {{\n"use strict";\n{body}\n}})();')
