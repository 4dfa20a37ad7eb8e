"""The winners on the terminal."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ofa import text


def print_report(report: dict[str, Any], *, console: Console | None = None) -> None:
    """A table of the winners: budget, predicted and re-measured costs, accuracies, sizes; and what is still missing."""
    console = console or Console()
    if report["winners"]:
        console.print(winners_table(report))
    for item in report["missing"]:
        console.print(
            f"[yellow]missing:[/] {escape(item['part'])} ({item['file']}); made by: {escape(item['command'])}",
            soft_wrap=True,
        )


def winners_table(report: dict[str, Any]) -> Table:
    """Fits into 80 columns: the limit stands under the budget, parameters under MACs, int8 (`i8`) under fp32."""
    table = Table(title=escape(report["name"]), box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("budget\n(at most)", no_wrap=True)
    costs, accuracies = ("\npredicted", "\nmeasured", "file\nmeasured"), ("acc.\npred.", "acc.\nselect.", "acc.\ntest")
    for name in (*costs, *accuracies, "MACs\nparams"):
        table.add_column(name, justify="right", no_wrap=True)
    for winner in report["winners"]:
        limits = winner["limits"]
        table.add_row(
            "\n".join([escape(winner["budget"]), *(_cost(limit, name) for name, limit in limits.items())]),
            "\n".join(_cost(winner["predicted_costs"][name], name) for name in limits),
            "\n".join(_measured(text.remeasured(winner, name), limit, name) for name, limit in limits.items()),
            "\n".join(_measured(text.exported_cost(winner, name), limit, name) for name, limit in limits.items()),
            _share(winner["predicted_accuracy"]["mean"]),
            _selected(winner),
            _tested(winner),
            _size(winner["costs"]),
        )
    reference = report["reference"]
    if reference is not None:
        accuracy = reference["accuracy"]
        table.add_section()
        table.add_row(
            "largest",
            *("–", "–", "–", "–"),
            *(_share(accuracy[split]["accuracy"]) for split in ("selection", "test")),
            _size(reference["costs"]),
        )
    return table


def _selected(winner: dict[str, Any]) -> str:
    """Of a winner on a board, in int8 too."""
    chosen_in_int8 = winner["chosen_by"] == "int8_accuracy"
    int8 = f"\n{_in_int8(winner['int8_accuracy'])}" if chosen_in_int8 else ""
    return _share(text.selected_accuracy(winner)) + int8


def _in_int8(accuracy: float) -> str:
    return f"{100 * accuracy:.1f}i8"


def _tested(winner: dict[str, Any]) -> str:
    lines = [_share(text.tested_accuracy(winner))]
    for board in ((winner["export"] or {}).get("boards") or {}).values():
        if (test := board["accuracy"]["test"]) is not None:
            lines.append(_in_int8(test["accuracy"]))
    return "\n".join(lines)


def _size(costs: dict[str, Any]) -> str:
    return "\n".join(text.count(costs[metric], "params").replace(" ", "") for metric in ("macs", "params"))


def _cost(value: float | None, name: str) -> str:
    if value is not None and name.startswith("latency"):
        return f"{value:.3g} ms"
    if value is not None and name.startswith("instructions"):
        return text.cost(float(f"{value:.3g}"), name).replace("instructions", "instr")
    return text.cost(value, name)


def _share(value: float | None) -> str:
    return text.share(value).replace(" ", "")


def _measured(value: float | None, limit: float, name: str) -> str:
    shown = _cost(value, name)
    return shown if value is None or value <= limit else f"[bold red]{shown} over[/]"
