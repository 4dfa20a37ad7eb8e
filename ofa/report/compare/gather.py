"""From the folders of several runs to one dictionary: the content of `comparison.json`, and all that the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ofa.report.compare.caveats import caveats
from ofa.report.compare.costs import SharedCost, shared_costs
from ofa.report.compare.curves import training_cost, training_curves
from ofa.report.compare.differences import config_differences
from ofa.report.compare.fronts import fronts
from ofa.report.compare.proportions import LEVEL, accuracy_interval
from ofa.report.compare.runs import Run, read_runs
from ofa.report.compare.tested import tested_networks, under_budgets

SCHEMA = 1


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """The comparison of runs, finished or not. Accuracies and differences are shares in 0..1, latencies ms.

    Runs are told by their place in `runs`. Raises `UserError` as `read_runs`.
    """
    runs = read_runs(folders)
    shared = shared_costs(runs)
    budgets = under_budgets(runs, shared)
    return {
        "schema": SCHEMA,
        "level": LEVEL,
        "caveats": caveats(runs, shared, budgets),
        "runs": [_summary(number, run, shared) for number, run in enumerate(runs)],
        "costs": [cost.facts for cost in shared],
        "budgets": budgets,
        "tested": [[one.facts for one in tested_networks(number, run, shared)] for number, run in enumerate(runs)],
        "fronts": fronts(runs, shared),
        "training": [training_curves(run) for run in runs],
        "differences": config_differences([run.found.config for run in runs]),
    }


def _summary(number: int, run: Run, shared: Sequence[SharedCost]) -> dict[str, Any]:
    report, config = run.report, run.found.config
    tested = tested_networks(number, run, shared)
    best = max(tested, key=lambda one: one.selection, default=None)
    grade = (report["predictor"] or {}).get("grade")
    train = config.get("train") or {}
    return {
        "label": run.label,
        "folder": str(run.found.run),
        "complete": not report["missing"],
        "missing": report["missing"],
        "weights_sha256": run.weights,
        "space": report["space"] and {key: report["space"][key] for key in ("name", "fingerprint", "size")},
        "data": report["data"] and {"name": report["data"]["name"], "num_classes": len(report["data"]["class_names"])},
        "splits": {split: run.split(split) for split in ("train", "calibration", "selection", "test")},
        "recipe": train.get("recipe"),
        "training": training_cost(run),
        "largest": _largest(report["reference"]),
        "best": None if best is None else best.facts,
        "num_records": len(report["records"]),
        "num_winners": len(report["winners"]),
        "predictor": None
        if grade is None
        else {
            "model": report["predictor"]["model"],
            "tau": grade["predictor"]["tau"],
            "num_heldout": grade["num_heldout"],
        },
        "table_errors": {
            name: None if device["published"] is not None else {key: device["heldout"][key] for key in ("mape", "num")}
            for name, device in report["devices"].items()
        },
        "boards": {name: board["name"] for name, board in report["boards"].items()},
        "test_readings": report["test_readings"],
    }


def _largest(reference: dict[str, Any] | None) -> dict[str, Any] | None:
    """Test accuracy of the largest subnet, with its interval."""
    test = None if reference is None else reference["accuracy"].get("test")
    if test is None:
        return None
    return {**asdict(accuracy_interval(test["accuracy"], test["num_images"])), "num_images": test["num_images"]}
