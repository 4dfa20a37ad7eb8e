"""Search results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ofa.search.budgets import format_cost


def print_winners(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Winners of a search of a run: accuracies, limits, predicted and measured costs; slot by slot with `explain`."""
    networks = Table("budget", "network", "predicted accuracy", "selection accuracy")
    costs = Table("budget", "cost", "at most", "predicted", "measured")
    for budget in facts["budgets"]:
        winner = budget["winner"]
        selection = f"{winner['selection_accuracy']:.2%}"
        networks.add_row(budget["name"], winner["key"], _accuracy(winner["predicted_accuracy"]), selection)
        for name, limit in budget["limits"].items():
            measured = winner["measured"].get(name)
            costs.add_row(
                budget["name"],
                name,
                format_cost(limit, name),
                format_cost(winner["predicted_costs"][name], name),
                "" if measured is None else format_cost(measured["median_ms"], name),
            )
    console = Console()
    console.print(networks, costs)
    if explain:
        for budget in facts["budgets"]:
            limited = {name: budget["winner"]["contributions"][name] for name in budget["limits"]}
            print_contributions(f"{budget['name']}: {budget['winner']['key']}", limited)


def print_candidates(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Candidates of a search by predictor alone."""
    limits, console = facts["limits"], Console()
    for name, limit in limits.items():
        console.print(f"{name} <= {format_cost(limit, name)}", highlight=False)
    beside = "peak_memory" in limits and facts["memory_plan"] != "naive"  # what a device without this plan would need
    intervals = {} if facts["confidence"] is None else facts["confidence"]["intervals"]
    table = Table("network", "predicted accuracy", *limits, *(["naive plan"] if beside else []))
    for candidate in facts["candidates"]:
        costs = [_told(candidate, name, intervals.get(name)) for name in limits]
        costs += [format_cost(candidate["naive_peak_memory"], "peak_memory")] if beside else []
        table.add_row(candidate["key"], _accuracy(candidate["predicted_accuracy"]), *costs)
    console.print(table)
    if (asked := facts["confidence"]) is not None and asked["upper"]:
        worst = ", ".join(f"{name} {factor - 1:+.1%}" for name, factor in asked["upper"].items())
        rejected = f"; {asked['num_rejected']} were measured and are over" if asked["measured_here"] else ""
        console.print(
            f"limits hold with {asked['confidence']:.4g} confidence for networks like those the tables were graded on: "
            f"measured over predicted at most {worst}{rejected}",
            highlight=False,
        )
    if (published := facts["predictor"]["published"]) is not None:
        console.print(f"{published['file']}: {published['note']}; no interval is known", highlight=False)
    for device, about in facts["devices"].items():
        if about["published"] is not None:
            console.print(f"{device}: {about['published']['note']}; {_error(about['published'])}", highlight=False)
    if explain:
        limited = {name: facts["contributions"][name] for name in limits}
        print_contributions(facts["candidates"][0]["key"], limited)


def _error(origin: Mapping[str, Any]) -> str:
    """What is known of the error of a table that was not measured here."""
    if (checked := origin.get("checked")) is None:
        return "its error is not known"
    return f"largest error on {checked['num']} whole networks {checked['largest_error']:.2%}"


def print_contributions(title: str, costs: Mapping[str, list[dict[str, Any]]]) -> None:
    """What every slot of a network adds to each of its costs."""
    names = list(costs)
    slots = list(dict.fromkeys(entry["slot"] for name in names for entry in costs[name]))
    values = {name: {entry["slot"]: entry["value"] for entry in costs[name]} for name in names}
    table = Table("slot", *names, title=title)
    for slot in slots:
        table.add_row(slot, *(format_cost(values[name][slot], name) if slot in values[name] else "" for name in names))
    Console().print(table)


def _told(candidate: Mapping[str, Any], name: str, interval: list[float] | None) -> str:
    """A cost as measured; else as predicted, with its interval."""
    if (measured := candidate["measured"].get(name)) is not None:
        return f"{format_cost(measured['median_ms'], name)} (measured)"
    predicted = candidate["predicted_costs"][name]
    told = format_cost(predicted, name)
    if interval is None:
        return told
    low, high = (format_cost(factor * predicted, name) for factor in interval)
    return f"{told} ({low} to {high})"


def _accuracy(prediction: Mapping[str, float]) -> str:
    if "lower" not in prediction:
        return f"{prediction['mean']:.2%}"
    return f"{prediction['mean']:.2%} ({prediction['lower']:.2%} to {prediction['upper']:.2%})"
