"""The winners on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from ofa.report import text


def print_report(report: dict[str, Any], *, console: Console | None = None) -> None:
    """A table of the winners: budget, predicted and re-measured costs, accuracies, sizes; and what is still missing."""
    console = console or Console()
    if report["winners"]:
        console.print(winners_table(report))
    for item in report["missing"]:
        console.print(
            f"[yellow]missing:[/] {item['part']} ({item['file']}); made by: {item['command']}", soft_wrap=True
        )


def winners_table(report: dict[str, Any]) -> Table:
    table = Table(title=report["name"])
    table.add_column("budget")
    for name in (
        "limit",
        "predicted",
        "re-measured",
        "exported",
        "predicted acc.",
        "selection acc.",
        "test acc.",
        "MACs",
        "params",
    ):
        table.add_column(name, justify="right")
    for winner in report["winners"]:
        names = list(winner["limits"])
        table.add_row(
            winner["budget"],
            "\n".join(text.cost(winner["limits"][name], name) for name in names),
            "\n".join(text.cost(winner["predicted_costs"][name], name) for name in names),
            "\n".join(_measured(text.remeasured(winner, name), winner["limits"][name], name) for name in names),
            "\n".join(_measured(text.exported_latency(winner, name), winner["limits"][name], name) for name in names),
            text.share(winner["predicted_accuracy"]["mean"]),
            text.share(winner["selection_accuracy"]),
            text.share(text.tested_accuracy(winner)),
            text.count(winner["costs"]["macs"], "macs"),
            text.count(winner["costs"]["params"], "params"),
        )
    reference = report["reference"]
    if reference is not None:
        accuracy = reference["accuracy"]
        table.add_section()
        table.add_row(
            "largest",
            *("none", "–", "–", "–", "–"),
            *(text.share(accuracy[split]["accuracy"]) for split in ("selection", "test")),
            *(text.count(reference["costs"][metric], metric) for metric in ("macs", "params")),
        )
    return table


def _measured(value: float | None, limit: float, name: str) -> str:
    shown = text.cost(value, name)
    return shown if value is None or value <= limit else f"[bold red]{shown} over[/]"
