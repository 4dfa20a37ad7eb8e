"""Budgets and costs with units: `12ms`, `256KiB`, `300MMACs`, `1.5M`, and `30%` of a device's own range."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from search_spaces.common.errors import UserError, unknown_name

_TIME = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
_ENERGY = {"uj": 1e-3, "mj": 1.0, "j": 1e3}
_COUNT = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2**10, "mib": 2**20, "gib": 2**30}

#: metric -> (base unit, {unit in lower case: factor to the base unit})
METRICS: dict[str, tuple[str, dict[str, float]]] = {
    "latency": ("ms", _TIME),
    "energy": ("mJ", _ENERGY),
    "instructions": ("instructions", _COUNT | {f"{prefix}instructions": factor for prefix, factor in _COUNT.items()}),
    "cycles": ("cycles", _COUNT | {f"{prefix}cycles": factor for prefix, factor in _COUNT.items()}),
    "macs": ("MACs", _COUNT | {f"{prefix}macs": factor for prefix, factor in _COUNT.items()}),
    "params": ("", _COUNT | {f"{prefix}params": factor for prefix, factor in _COUNT.items()}),
    "peak_memory": ("B", _BYTES),
    "flash": ("B", _BYTES),
}
_EXAMPLES = {
    "ms": "12ms",
    "mJ": "3mJ",
    "MACs": "300MMACs",
    "instructions": "40Minstructions",
    "cycles": "2Mcycles",
    "": "1.5M",
    "B": "256KiB",
}
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?nan|[-+]?inf)\s*([a-zµ]*|%)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Quantity:
    """A parsed amount: `value` in the metric's base unit, or (if `relative`) a fraction of a device's range in 0..1."""

    value: float
    relative: bool = False


def parse_quantity(text: str | int | float, metric: str, *, file: object = None, key: str | None = None) -> Quantity:
    """Parse an amount of `metric`; latency, energy and bytes need a unit. Raises `UserError` on anything not
    positive.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS, file=file, key=key)
    where = {"file": None if file is None else str(file), "key": key}
    base, units = METRICS[metric]
    example = _EXAMPLES[base]
    match = _QUANTITY.fullmatch(str(text))
    if isinstance(text, bool) or match is None:
        raise UserError(f"{text!r} is not an amount of {metric}", **where, hint=f"Write it like {example}")
    number, unit = float(match[1]), re.sub("[µμ]", "u", match[2].lower())
    value = number * units.get(unit, 1.0)
    if not math.isfinite(value) or value < 0 or (value == 0 and unit != "%"):
        raise UserError(f"{text!r} is not a positive amount of {metric}", **where, hint=f"Write it like {example}")
    if unit == "%":
        if number > 100:
            raise UserError(f"{text!r} is above 100%", **where)
        return Quantity(number / 100, relative=True)
    if unit not in units:
        what = f"{text!r} has no unit" if not unit else f"{text!r} has an unknown unit {match[2]!r}"
        raise UserError(
            f"{what} for {metric}", **where, hint=f"Known: {', '.join(u for u in units if u)}; e.g. {example}"
        )
    return Quantity(value)


def format_quantity(value: float, metric: str) -> str:
    """Human text of a value in base units: `1.204 ms`, `84.0 KiB`, `12.3 MMACs`, `1.2 M`."""
    base = METRICS[metric][0]
    if base == "B":
        for unit, factor in (("MiB", 2.0**20), ("KiB", 2.0**10)):
            if abs(value) >= factor:
                return f"{value / factor:.4g} {unit}"
        return f"{value:.0f} B"
    if base in ("MACs", "instructions", "cycles", ""):
        for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if abs(value) >= factor:
                return f"{value / factor:.4g} {unit}{base}"
        return f"{value:.0f} {base}".strip()
    return f"{value:.4g} {base}"
