"""Accuracy against one cost, of every run that has it: records, the predicted front, winners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofa import text
from ofa.report.compare.costs import SharedCost, cost_table
from ofa.report.compare.runs import Run
from ofa.search.front import pareto_front

#: records of a run that are drawn besides those of the front: evenly, from the most accurate to the least
_MOST = 400


def front_of(cost: SharedCost, number: int, run: Run) -> dict[str, Any]:
    """`records` [[cost, accuracy, key, on the front], ...] cheapest first; `predicted` [[cost, mean, lower, upper,
    key], ...], `winners` [[cost, accuracy, budget, key, measured], ...]; accuracies on the selection split.
    """
    own = cost.own[number]
    search = run.found.search
    predicted = [] if search is None else search["fronts"].get(own, [])
    return {
        "run": number,
        "records": _records(run, own),
        "num_records": 0 if run.found.records is None else len(run.found.records),
        "predicted": [
            [point["cost"], point["accuracy"], point.get("lower"), point.get("upper"), point["key"]]
            for point in predicted
        ],
        "winners": [point for winner in run.report["winners"] if (point := _winner(winner, own)) is not None],
    }


def fronts(runs: Sequence[Run], shared: Sequence[SharedCost]) -> list[dict[str, Any]]:
    """One chart each, with more than one run where devices are the same."""
    return [
        {**cost.facts, "fronts": [front_of(cost, number, runs[number]) for number in sorted(cost.own)]}
        for cost in shared
        if cost.metric != "params"
    ]


def _records(run: Run, own: str) -> list[list[Any]]:
    records, table = run.found.records, cost_table(run, own)
    if records is None or table is None:
        return []
    values, accuracies = table.evaluate(records.population), records.accuracies
    front = pareto_front(values, accuracies)
    order = np.argsort(-accuracies, kind="stable")
    kept = order[np.unique(np.linspace(0, len(order) - 1, min(_MOST, len(order))).round().astype(np.int64))]
    on_front = set(front.tolist())
    chosen = sorted({*kept.tolist(), *on_front}, key=lambda i: (values[i], -accuracies[i]))
    return [[float(values[i]), float(accuracies[i]), records.keys[i], i in on_front] for i in chosen]


def _winner(winner: dict[str, Any], own: str) -> list[Any] | None:
    measured = text.exported_cost(winner, own)
    measured = text.remeasured(winner, own) if measured is None else measured
    value = winner["predicted_costs"].get(own) if measured is None else measured
    if value is None:
        return None
    return [float(value), text.selected_accuracy(winner), winner["budget"], winner["key"], measured is not None]
