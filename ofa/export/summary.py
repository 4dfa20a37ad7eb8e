"""An export on the terminal: a row for every file, then what did not come out and why."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ofa.text import milliseconds, share, size


def forms_table(forms: dict[str, dict[str, Any]]) -> Table:
    """Fits into 80 columns."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("file", no_wrap=True)
    for name in ("\nsize", "off by\n(signal)", "accuracy\nselection", "accuracy\ntest", "one image\nmeasured here"):
        table.add_column(name, justify="right", no_wrap=True)
    for facts in forms.values():
        accuracy = facts["accuracy"]
        table.add_row(
            escape(facts["file"]),
            size(facts["bytes"]),
            _difference(facts),
            share(accuracy["selection"]["accuracy"]),
            share(accuracy["test"] and accuracy["test"]["accuracy"]),
            _latency(facts["latency"]),
        )
    return table


def notes(report: dict[str, Any]) -> list[str]:
    """What the table has no room for, in lines."""
    lines = []
    for name, facts in report["forms"].items():
        if facts["num_ties"]:
            lines.append(f"{name}: rounding decided {facts['num_ties']} of {facts['num_images']} images, left aside")
        if network := facts["accuracy"].get("network"):
            lost = 100 * (network["accuracy"] - facts["accuracy"]["selection"]["accuracy"])
            told = f"loses {lost:.2f} points" if lost > 0 else "loses nothing"
            lines.append(f"{name}: {told} of the network's {share(network['accuracy'])} (selection split)")
        if (latency := facts["latency"]) is not None and latency.get("not_measured"):
            lines.append(f"{name}: not measured: {latency['not_measured']}")
        if micro := facts.get("micro"):
            arena = size(micro["arena_head_bytes"] + micro["arena_tail_bytes"])
            others = micro["num_off_by_one"] + micro["num_off_by_more"]
            lines.append(
                f"{name}: TensorFlow Lite Micro: arena {arena}, {others} of {micro['num_outputs']} outputs not LiteRT's"
            )
    return lines


def absent(report: dict[str, Any]) -> list[str]:
    """What `all` could not mean here: a line for each form, with what brings it."""
    return [f"{name}: {how}" for name, how in {**report["missing"], **report["left_out"]}.items()]


def _difference(facts: dict[str, Any]) -> str:
    return f"{facts['max_abs']:.1e}" if facts["signal_db"] is None else f"{facts['signal_db']:.1f} dB"


def _latency(latency: dict[str, Any] | None) -> str:
    return milliseconds(None if latency is None else latency.get("median_ms"))
