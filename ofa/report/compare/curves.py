"""Training curves of a run, by step and by what had been spent by then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ofa.report.compare.runs import Run

#: points of a curve; where more steps were logged, a point is the mean of several
_MOST = 150


def training_curves(run: Run) -> dict[str, dict[str, list[list[float | None]]]]:
    """`accuracy` (selection split) and `loss` (training): role -> [[step, MACs spent or None, value], ...]."""
    steps = [line for line in run.found.training if line.get("kind") == "step"]
    evaluations = [line for line in run.found.training if line.get("kind") == "evaluation"]
    spent = [(line["step"], line["macs"]) for line in steps if "macs" in line]
    loss = _by_role((line["step"], line.get("loss", {})) for line in steps)
    accuracy = _by_role(
        (line["step"], {role: entry["accuracy"] for role, entry in line.items() if _is_score(entry)})
        for line in evaluations
    )
    return {
        "accuracy": {role: _with_macs(points, spent) for role, points in accuracy.items()},
        "loss": {role: _with_macs(_thinned(points), spent) for role, points in loss.items()},
    }


def training_cost(run: Run) -> dict[str, Any]:
    """Steps, MACs, images and hours of a finished training; None where it is not finished, or was imported."""
    supernet = run.found.supernet or {}
    cost = supernet.get("cost") or {}
    macs = [cost[key] for key in ("forward_macs", "backward_macs", "teacher_macs", "selection_macs") if key in cost]
    seconds = cost.get("wall_seconds")
    return {
        "steps": supernet.get("step"),
        "macs": sum(macs) if macs else None,
        "images": cost.get("images"),
        "hours": None if seconds is None else seconds / 3600,
    }


def _is_score(entry: object) -> bool:
    return isinstance(entry, Mapping) and "accuracy" in entry


def _by_role(lines: Iterable[tuple[int, Mapping[str, float]]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for step, values in lines:
        for role, value in values.items():
            if math.isfinite(value):
                found.setdefault(role, []).append((step, value))
    return found


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means over equally many points that follow one another, each at the step of the last of them."""
    size = math.ceil(len(points) / _MOST)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]


def _with_macs(points: Sequence[tuple[float, float]], spent: Sequence[tuple[float, float]]) -> list[list[float | None]]:
    """MACs of steps between two logged ones lie on the line between these, and those of earlier ones on that from 0."""
    if not spent:
        return [[step, None, value] for step, value in points]
    known = np.array([(0.0, 0.0), *spent])
    macs = np.interp([step for step, _ in points], known[:, 0], known[:, 1])
    return [[step, float(at), value] for (step, value), at in zip(points, macs, strict=True)]
