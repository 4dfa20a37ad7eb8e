"""The rule of the page's sliders, written the slow way: what the script's answers are compared with."""

from __future__ import annotations

from typing import Any

BASES = ("predicted", "cautious", "measured")


def totals(data: dict[str, Any]) -> list[list[float]]:
    """What every network costs, by cost."""
    return [_column(data, index) for index in range(len(data["costs"]))]


def _column(data: dict[str, Any], index: int) -> list[float]:
    cost, found = data["costs"][index], []
    for numbers in data["networks"]["slots"]:
        slots = enumerate(numbers)
        parts = [data["operators"][slot][number]["costs"][index] for slot, number in slots if number >= 0]
        found.append(cost["constant"] + sum(parts) if cost["reduce"] == "sum" else max(cost["constant"], *parts))
    return found


def brute_force(data: dict[str, Any], limits: list[float | None], basis: str, columns: list[list[float]]) -> int:
    """The best network within limits by cost, -1 where there is none; of equal ones the cheapest in the first cost.

    `columns` are `totals(data)`.
    """
    networks = data["networks"]
    column = {"predicted": ("predicted", "mean"), "cautious": ("predicted", "lower"), "measured": ("measured", "mean")}
    group, key = column[basis]
    allowed = [
        (-score, columns[0][number], number)
        for number, score in enumerate(networks[group][key])
        if score is not None
        and all(
            limit is None or values[number] <= limit * (1 + 1e-9) for values, limit in zip(columns, limits, strict=True)
        )
    ]
    return min(allowed)[2] if allowed else -1
