"""A comparison on the terminal: the runs, the same budgets, and what must be known before believing them."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ofa import text
from ofa.report.compare.words import total_macs


def print_comparison(comparison: dict[str, Any], *, console: Console | None = None) -> None:
    console = console or Console()
    console.print(_runs(comparison["runs"]))
    console.print(_budgets(comparison))
    for sentence in comparison["caveats"]:
        console.print(f"[yellow]note:[/] {escape(sentence)}", soft_wrap=True)


def _runs(runs: list[dict[str, Any]]) -> Table:
    table = Table(title="runs", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("run")
    for name in ("training", "largest\ntest", "best\ntest", "predictor\ntau"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        cost, largest, best, predictor = run["training"], run["largest"], run["best"], run["predictor"]
        table.add_row(
            escape(run["label"]),
            total_macs(cost["macs"]),
            text.share(largest and largest["value"]),
            text.share(best and best["test"]),
            "–" if predictor is None else f"{predictor['tau']['value']:.2f}",
        )
    return table


def _budgets(comparison: dict[str, Any]) -> Table:
    metrics = {cost["name"]: cost["metric"] for cost in comparison["costs"]}
    table = Table(title="test accuracy under the same budget", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("at most", no_wrap=True)
    for run in comparison["runs"]:
        table.add_column(escape(run["label"]), justify="right")
    for row in comparison["budgets"]:
        limits = "\n".join(f"{text.cost(limit, metrics[name])} {name}" for name, limit in row["limits"].items())
        table.add_row(
            limits or "any cost", *("–" if one is None else text.share(one["test"]) for one in row["networks"])
        )
    return table
