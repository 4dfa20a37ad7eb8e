"""How numbers read, on the page and on the terminal alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.common.units import METRICS, format_quantity


def share(value: float | None, decimals: int = 2) -> str:
    """0.97251 -> `97.25 %`; a dash for what is not known."""
    return "–" if value is None else f"{100 * value:.{decimals}f} %"


def milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g} ms"


def cost(value: float | None, name: str) -> str:
    """A cost in base units under its name in searches (`latency@phone`, `macs`)."""
    metric = name.partition("@")[0]
    if value is None:
        return "–"
    return format_quantity(value, metric) if metric in METRICS else f"{value:.4g}"


def count(value: float | None, metric: str) -> str:
    return "–" if value is None else format_quantity(value, metric)


def estimate(value: Mapping[str, Any], *, as_share: bool = False) -> str:
    """A statistic with its interval: `0.82 (0.74 to 0.88)`."""
    one = (lambda x: share(x)) if as_share else (lambda x: f"{x:.2f}")
    return f"{one(value['value'])} ({one(value['lower'])} to {one(value['upper'])})"


def interval(prediction: Mapping[str, float]) -> str:
    if "lower" not in prediction:
        return "no interval known"
    return f"{share(prediction['lower'])} to {share(prediction['upper'])}"


def size(num_bytes: int) -> str:
    return format_quantity(num_bytes, "flash")


def networks(number: int) -> str:
    """An exact count that stays readable: `12,345` or `2.2 x 10^19`."""
    if number < 10**9:
        return f"{number:,}"
    mantissa, exponent = f"{number:.1e}".split("e+")
    return f"{mantissa} × 10^{int(exponent)}"


def remeasured(winner: Mapping[str, Any], name: str) -> float | None:
    """The median that admitted a winner under the limit on `name`, in ms; None where a limit needs no measuring."""
    measured = winner["measured"].get(name)
    return None if measured is None else float(measured["median_ms"])


#: a cost of a board's table -> what the emulator's report calls it
FOUND = {"peak_memory": "arena_bytes", "flash": "flash_bytes", "instructions": "instructions"}


def exported_cost(winner: Mapping[str, Any], name: str) -> float | None:
    """What the exported network takes: the median in ms, where `name` is a latency and the export was measured; on a
    board, what was found where its bundle ran in the emulator.
    """
    metric, _, device = name.partition("@")
    board = ((winner["export"] or {}).get("boards") or {}).get(device)
    if board is not None and metric in FOUND:
        found = board["verified"][FOUND[metric]]
        return None if found is None else float(found)
    latency = (winner["export"] or {}).get("latency") or {}
    measured = latency.get(device, {}).get("measured")
    return None if measured is None else float(measured["median_ms"])


def tested_accuracy(winner: Mapping[str, Any]) -> float | None:
    """Of the exported file, in 0..1."""
    test = ((winner["export"] or {}).get("accuracy") or {}).get("test")
    return None if test is None else float(test["accuracy"])


def selected_accuracy(winner: Mapping[str, Any]) -> float:
    """On the selection split, in 0..1: of the exported file where there is one, which may have been fine-tuned."""
    export = winner["export"]
    return float(export["accuracy"]["selection"]["accuracy"] if export is not None else winner["selection_accuracy"])
