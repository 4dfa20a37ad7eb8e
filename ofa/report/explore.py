"""The part of the page to play with: accuracy against every cost, and sliders that pick a winner within limits.

What stands here in words holds without JavaScript; charts and sliders are made by `assets/` from the page's data block.
"""

from __future__ import annotations

from typing import Any

from ofa.report.marks import dot, line, swatch
from ofa.report.markup import Markup, tag
from ofa.report.plots import Axis, place, progress

Facts = dict[str, Any]

_METRICS = {"macs": "MACs", "params": "parameters", "peak_memory": "peak memory"}


def tradeoff_section(data: Facts) -> Markup | None:
    """A tab and a chart for every cost; the first is one that budgets limit."""
    if not data or not data["networks"]["keys"]:
        return None
    costs = data["costs"]
    tabs = [
        tag(
            "button",
            _title(cost),
            type="button",
            role="tab",
            id=f"tab-{number}",
            aria_controls=f"panel-{number}",
            aria_selected="true" if number == 0 else "false",
            tabindex=0 if number == 0 else -1,
            data_cost=cost["name"],
        )
        for number, cost in enumerate(costs)
    ]
    note = (
        "Every dot is an evaluated network, at the cost that the tables predict and the accuracy that was found. "
        "Winners stand at their measured latency; dashed lines are the budgets. Up and to the left is better. The "
        "highest of many measured accuracies are high by luck, too: trust the predicted front and its interval more "
        "than the topmost dot. Point at a dot to read what it is, click it to see its layers."
    )
    return tag(
        "section",
        tag("h2", "Accuracy against cost"),
        tag("p", note, class_="note"),
        tag("div", tabs, class_="chooser", role="tablist", aria_label="Cost", hidden=True),
        [_panel(data, cost, number) for number, cost in enumerate(costs)],
        id="tradeoff",
    )


def budgets_section(data: Facts) -> Markup | None:
    """Hidden until the script has filled it: without one there is nothing to slide."""
    if not data or not data["networks"]["keys"]:
        return None
    num = len(data["networks"]["keys"])
    rule = (
        f"Moving a limit picks again, at once, among the {num} networks this page knows: those that were evaluated "
        "and those of the predicted front. The pick keeps every limit by the tables and has the highest predicted "
        "accuracy (or what else is chosen here); of equal ones it is the smallest. It is a preview: the search looks "
        "at the whole space, measures its candidates on the device and evaluates them before it names a winner."
    )
    boards = any(cost["device"] is not None and cost["metric"] != "latency" for cost in data["costs"])
    int8 = "The search names winners of boards by their accuracy in int8; accuracies here are those in float32."
    return tag(
        "section",
        tag("h2", "What if the budget were another?"),
        tag("p", rule, class_="note"),
        tag("p", int8, class_="note") if boards else None,
        tag("div", class_="controls"),
        id="budgets",
        hidden=True,
    )


def history_section(data: Facts) -> Markup | None:
    """Evaluations in the order they came, as `records.jsonl` holds them."""
    if not data:
        return None
    networks = data["networks"]
    found = [
        (origin, accuracy, f"network {key}")
        for key, origin, accuracy in zip(
            networks["keys"], networks["origins"], networks["measured"]["mean"], strict=True
        )
        if accuracy is not None
    ]
    if len(found) < 2:
        return None
    chart = progress(
        name="tried",
        title="Selection accuracy by evaluation",
        axis=Axis("selection accuracy", "percent"),
        points=found,
        caption="Each dot is a subnet evaluated with the supernet's weights, by what it was evaluated for; the line "
        "is the best so far.",
    )
    return tag("section", tag("h2", "What the search tried"), chart, id="history")


def _panel(data: Facts, cost: Facts, number: int) -> Markup:
    title = _title(cost)
    num = sum(value is not None for value in data["networks"]["measured"]["mean"])
    front = len(data["fronts"].get(cost["name"], []))
    words = (
        f"Accuracy against {title}: {num} evaluated networks, a predicted front of {front} and "
        f"{len(data['winners'])} winners. The tables of winners and of all records hold the numbers."
    )
    return tag(
        "div",
        place(name=f"front-{number}", label=words, instead=words),
        tag("ul", _legend(data, cost, num), class_="legend"),
        role="tabpanel",
        id=f"panel-{number}",
        aria_labelledby=f"tab-{number}",
        class_="panel on-device" if cost["device"] is not None else "panel",
        data_cost=cost["name"],
        hidden=number > 0,
    )


def _legend(data: Facts, cost: Facts, num: int) -> list[Markup]:
    front = data["fronts"].get(cost["name"], [])
    words = "front by the predictor" + (", with its interval" if front and "lower" in front[0] else "")
    return [
        tag("li", dot(), f"{num} evaluated networks"),
        *([tag("li", line(), words)] if front else []),
        *(tag("li", swatch(index), f"winner {winner['name']}") for index, winner in enumerate(data["winners"])),
    ]


def _title(cost: Facts) -> str:
    metric = _METRICS.get(cost["metric"], str(cost["metric"]))
    return metric if cost["device"] is None else f"{metric} on {cost['device']}"
