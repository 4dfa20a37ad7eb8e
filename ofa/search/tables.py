"""Search results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from ofa.search.budgets import format_cost


def print_winners(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Winners of a search of a run: limits, predicted and measured costs, accuracies; slot by slot with `explain`."""
    console = Console()
    table = Table("budget", "limit", "predicted", "measured", "network", "predicted accuracy", "selection accuracy")
    for budget in facts["budgets"]:
        winner = budget["winner"]
        names = list(budget["limits"])
        measured = [
            format_cost(winner["measured"][name]["median_ms"], name) if name in winner["measured"] else "exact"
            for name in names
        ]
        accuracy = winner["predicted_accuracy"]
        table.add_row(
            budget["name"],
            _lines(f"{name} <= {format_cost(budget['limits'][name], name)}" for name in names),
            _lines(format_cost(winner["predicted_costs"][name], name) for name in names),
            _lines(measured),
            winner["key"],
            f"{accuracy['mean']:.2%} ({accuracy['lower']:.2%} to {accuracy['upper']:.2%})",
            f"{winner['selection_accuracy']:.2%}",
        )
    console.print(table)
    if explain:
        for budget in facts["budgets"]:
            print_contributions(f"{budget['name']}: {budget['winner']['key']}", budget["winner"]["contributions"])


def print_candidates(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Candidates of a search by predictor alone."""
    limits = facts["limits"]
    table = Table("network", "predicted accuracy", *(f"{n} <= {format_cost(v, n)}" for n, v in limits.items()))
    for candidate in facts["candidates"]:
        accuracy, costs = candidate["predicted_accuracy"], candidate["predicted_costs"]
        table.add_row(
            candidate["key"],
            f"{accuracy['mean']:.2%} ({accuracy['lower']:.2%} to {accuracy['upper']:.2%})",
            *(format_cost(costs[name], name) for name in limits),
        )
    Console().print(table)
    if explain and facts["candidates"]:
        print_contributions(facts["candidates"][0]["key"], facts["contributions"])


def print_contributions(title: str, costs: Mapping[str, list[dict[str, Any]]]) -> None:
    """What every slot of a network adds to each of its costs."""
    names = list(costs)
    slots = list(dict.fromkeys(entry["slot"] for name in names for entry in costs[name]))
    values = {name: {entry["slot"]: entry["value"] for entry in costs[name]} for name in names}
    table = Table("slot", *names, title=title)
    for slot in slots:
        table.add_row(slot, *(format_cost(values[name][slot], name) if slot in values[name] else "" for name in names))
    Console().print(table)


def _lines(texts: Any) -> str:
    return "\n".join(texts)
