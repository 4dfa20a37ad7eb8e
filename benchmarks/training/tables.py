"""The summary as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def recipes_table(summary: Mapping[str, Any]) -> str:
    """One line a recipe, the best first. Accuracies in %, differences in points."""
    lines = [
        f"| recipe | epochs | largest saw | seeds | area | minus {summary['reference']} | smallest | largest | mean "
        "| MACs forward + backward + teacher + selection, 10^12 | CPU hours |",
        "|---|---:|---:|---:|---|---|---:|---:|---:|---|---:|",
    ]
    for entry in summary["recipes"]:
        spent = " + ".join(f"{entry[f'{part}_macs'] / 1e12:.2f}" for part in _PARTS)
        cells = [
            entry["label"],
            f"{entry['epochs']:.1f}",
            _number(entry["seen_by_largest"]),
            str(len(entry["seeds"])),
            _percent(entry["area"], entry["seeds"]),
            _points(entry.get("area_minus_reference")),
            *(f"{100 * entry[part]:.1f}" for part in ("smallest", "largest", "mean")),
            spent,
            f"{entry['cpu_hours']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def alone_table(summary: Mapping[str, Any]) -> str:
    """Subnets as they are, and fine-tuned, beside the same networks trained alone."""
    alone = summary["alone"]
    if alone is None:
        return "No network was trained alone yet.\n"
    lines = [
        f"{alone['num']} networks trained alone for {alone['epochs']:g} epochs, {len(alone['seeds'])} seeds: "
        f"mean accuracy {100 * alone['mean']:.2f} %, {alone['macs_each'] / 1e12:.2f} x 10^12 MACs and "
        f"{60 * alone['cpu_hours_each']:.1f} CPU minutes each.",
        "",
        "| recipe | subnets minus alone | fine-tuned minus alone | tau | break-even, networks | fine-tuned |",
        "|---|---|---|---|---:|---:|",
    ]
    for entry in summary["recipes"]:
        if "minus_alone" in entry:
            lines.append(
                f"| {entry['label']} | {_points(entry['minus_alone'])} | {_points(entry.get('finetuned_minus_alone'))} "
                f"| {_tau(entry['tau'])} | {_devices(entry['break_even_devices'])} "
                f"| {_devices(entry['finetuned_break_even_devices']) if 'finetuned_tau' in entry else '-'} |"
            )
    lines += ["", "| ranking by | tau with the networks trained alone |", "|---|---|"]
    lines += [f"| {name} | {_tau(tau)} |" for name, tau in alone["tau_of_baselines"].items()]
    lines.append(f"| the same networks, another seed (ceiling) | {_tau(alone['tau_of_two_seeds'])} |")
    return "\n".join(lines) + "\n"


_PARTS = ("forward", "backward", "teacher", "selection")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _percent(estimate: Mapping[str, float], seeds: list[int]) -> str:
    if len(seeds) < 2:
        return f"{100 * estimate['value']:.2f}"
    return f"{100 * estimate['value']:.2f} ({100 * estimate['lower']:.2f} to {100 * estimate['upper']:.2f})"


def _points(estimate: Mapping[str, float] | None) -> str:
    if estimate is None:
        return "-"
    return f"{100 * estimate['value']:+.2f} ({100 * estimate['lower']:+.2f} to {100 * estimate['upper']:+.2f})"


def _tau(estimate: Mapping[str, float] | None) -> str:
    return "-" if estimate is None else f"{estimate['value']:.2f} ({estimate['lower']:.2f} to {estimate['upper']:.2f})"


def _devices(number: float | None) -> str:
    return "never" if number is None else str(math.ceil(number))
