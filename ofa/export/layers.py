"""What a network looks like layer by layer: operators, sizes, exact costs, and each layer's part of the latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from search_spaces import Architecture, SearchSpace
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

EXACT = ("macs", "params", "peak_memory", "flash")


def exact_costs(space: SearchSpace, architecture: Architecture) -> dict[str, int]:
    """MACs, parameters, and bytes of peak memory and flash in float32."""
    row = space.encode([architecture])
    return {metric: int(space.cost(metric).evaluate(row)[0]) for metric in EXACT}


def describe_layers(
    space: SearchSpace, architecture: Architecture, latencies: Mapping[str, CostTable]
) -> list[dict[str, Any]]:
    """One entry per slot in use, in order. `latencies`: device -> its cost table in ms.

    `latency[device]` holds the layer's `ms` and its `share` of the whole; what belongs to no layer (per-call
    overhead, corrections) is the last entry, "overhead", so the shares add up to 1.
    """
    row = space.encode([architecture])[0]
    explained = {device: _by_slot(table, row) for device, table in latencies.items()}
    totals = {device: sum(parts.values()) for device, parts in explained.items()}
    entries: list[dict[str, Any]] = []
    for slot, operator in space.network(architecture):
        entry: dict[str, Any] = {"slot": slot, **describe_operator(operator)}
        entry["latency"] = {device: _part(parts.pop(slot, 0.0), totals[device]) for device, parts in explained.items()}
        entries.append(entry)
    rest = {device: sum(parts.values()) for device, parts in explained.items()}
    if any(abs(value) > 0 for value in rest.values()):
        entries.append(
            {"slot": "overhead", "latency": {device: _part(value, totals[device]) for device, value in rest.items()}}
        )
    return entries


def describe_operator(operator: Operator) -> dict[str, Any]:
    """Kind, fields and sizes of an operator, JSON-able."""
    options = {
        field.name: _plain(getattr(operator, field.name))
        for field in fields(operator)
        if field.name not in ("in_channels", "out_channels", "resolution")
    }
    return {
        "kind": operator.kind,
        "operator": operator.key,
        "in_channels": int(operator.in_channels),
        "out_channels": int(operator.out_channels),
        "resolution": int(operator.resolution),
        "output_resolution": int(operator.output_resolution),
        "options": options,
        "macs": int(operator.macs()),
        "params": int(operator.params()),
    }


def _by_slot(table: CostTable, row: np.ndarray) -> dict[str, float]:
    parts: dict[str, float] = {}
    for slot, value in table.explain(row):
        parts[slot] = parts.get(slot, 0.0) + value
    return parts


def _part(value: float, total: float) -> dict[str, float]:
    return {"ms": value, "share": value / total if total else 0.0}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
