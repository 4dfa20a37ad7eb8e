"""From the files of a run to one dictionary: the content of `report.json`, and all that the page shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.table import LatencyTable
from ofa.export.layers import describe_layers, exact_costs
from ofa.export.winners import FOLDER
from ofa.report.sources import Sources, read_sources
from ofa.versions import versions
from search_spaces import Architecture, SearchSpace
from search_spaces.costs import CostTable

SCHEMA = 1


def gather(run: Path) -> dict[str, Any]:
    """The report of a run, finished or not. `missing` lists what is not there yet and the command that makes it.

    Accuracies are shares in 0..1, latencies ms, `peak_memory` and `flash` bytes. Raises `UserError` as `read_sources`.
    """
    return describe(read_sources(run))


def describe(found: Sources) -> dict[str, Any]:
    """The report of what `read_sources` found."""
    told = {} if found.space is None else {name: table.cost(found.space) for name, table in found.tables.items()}
    latencies = {name: cost for name, cost in told.items() if cost.metric == "latency"}
    return {
        "schema": SCHEMA,
        "name": str(found.config.get("name", found.run.name)),
        "missing": [asdict(item) for item in found.missing],
        "reproduce": {
            "command": _command(found),
            "config": found.config,
            "versions": versions(),
            "weights_sha256": None if found.supernet is None else found.supernet["weights_sha256"],
        },
        "data": _data(found),
        "space": _space(found),
        "devices": {name: _device(found, name, told.get(name)) for name in found.tables},
        "boards": {name: _board(table, found.space) for name, table in found.boards.items()},
        "training": _training(found),
        "records": _records(found, latencies),
        "predictor": _predictor(found),
        "ranking": found.ranking,
        "fronts": {} if found.search is None else found.search["fronts"],
        "winners": _winners(found, latencies),
        "reference": found.reference,
        "test_readings": _test_readings(found),
    }


def _command(found: Sources) -> str:
    """What makes this run again; an imported supernet is first imported."""
    imported = None if found.supernet is None else found.supernet["data"].get("imported")
    first = f"ofa import checkpoint {imported['file']} --config config.yaml\n" if imported else ""
    return f"{first}ofa run config.yaml"


def _data(found: Sources) -> dict[str, Any] | None:
    if found.supernet is None:
        return None
    data = found.supernet["data"]
    sizes, hashes = data.get("split_sizes", {}), data.get("split_sha256", {})
    return {
        "name": data.get("name"),
        "class_names": data.get("class_names", []),
        "image_size": data.get("image_size"),
        "in_channels": data.get("in_channels"),
        "imported": data.get("imported"),
        "splits": [{"split": split, "images": sizes.get(split), "sha256": hashes.get(split)} for split in hashes],
    }


def _space(found: Sources) -> dict[str, Any] | None:
    space = found.space
    if space is None:
        return None
    ends = {}
    for metric in ("macs", "params", "peak_memory", "flash"):
        table = space.cost(metric)
        ends[metric] = {"smallest": table.minimum()[0], "largest": table.maximum()[0]}
    return {"name": space.name, "fingerprint": space.fingerprint, "size": space.size, "costs": ends}


def _device(found: Sources, name: str, cost: CostTable | None) -> dict[str, Any]:
    """What a table says of itself: how it was measured and its error, or (`published`) who published or gave it.

    `range` is in `unit`; `range_ms` is the same of a latency, and None of any other metric.
    """
    table = found.tables[name]
    ends = None if cost is None else [cost.minimum()[0], cost.maximum()[0]]
    range_ms = ends if table.metric == "latency" else None
    told = {"metric": table.metric, "unit": table.unit, "range": ends, "range_ms": range_ms}
    if not isinstance(table, LatencyTable):
        return {"published": table.origin, "num_operators": table.num_operators, **told}
    heldout = table.heldout
    return {
        "published": None,
        "machine": table.device.model_dump(mode="json"),
        "created": table.created,
        "num_operators": len(table.entries),
        "correction": table.correction.model_dump(mode="json"),
        "conditions": table.conditions.model_dump(mode="json"),
        **told,
        "heldout": {
            "mape": heldout.mape,
            "share_within_10": heldout.within_10,
            "kendall_tau": heldout.kendall_tau,
            "num": heldout.num,
            "pairs": [
                {
                    "key": Architecture.from_json(pair.architecture).key,
                    "predicted_ms": pair.predicted_ms,
                    "measured_ms": pair.measured_ms,
                }
                for pair in heldout.pairs
            ],
        },
    }


def _board(table: BoardTable, space: SearchSpace | None) -> dict[str, Any]:
    """What the table of a board says of itself; `range` is over the networks of the space."""
    costs = {}
    for one in table.tables():
        cost = None if space is None else one.cost(space)
        ends = None if cost is None else [cost.minimum()[0], cost.maximum()[0]]
        costs[one.metric] = {"unit": one.unit, "range": ends, "capacity": one.capacity}
    checked = table.checked
    largest = checked and {"num": len(checked.networks), "largest_errors": checked.largest_errors.model_dump()}
    return {
        **table.board.model_dump(mode="json"),
        "num_operators": table.num_operators,
        "memory_plan": table.memory_plan,
        "note": table.note,
        "provenance": table.provenance,
        "costs": costs,
        "checked": largest,
    }


def _training(found: Sources) -> dict[str, Any]:
    """Curves by role of the subnet: label -> [[step, value], ...]."""
    accuracy: dict[str, list[list[float]]] = {}
    loss: dict[str, list[list[float]]] = {}
    phases: list[dict[str, Any]] = []
    for line in found.training:
        if line.get("kind") == "start":
            continue  # the start weights, before the first phase
        step = line.get("step", 0)
        if not phases or phases[-1]["name"] != line.get("phase"):
            phases.append({"name": line.get("phase"), "step": step})
        if line.get("kind") == "step":
            for role, value in line.get("loss", {}).items():
                if math.isfinite(value):
                    loss.setdefault(role, []).append([step, value])
        elif line.get("kind") == "evaluation":
            for role, result in line.items():
                if isinstance(result, Mapping) and "accuracy" in result:
                    accuracy.setdefault(role, []).append([step, result["accuracy"]])
    steps = None if found.supernet is None else found.supernet.get("step")
    return {"steps": steps, "phases": phases, "accuracy": accuracy, "loss": loss}


def _records(found: Sources, latencies: Mapping[str, CostTable]) -> list[dict[str, Any]]:
    """One entry per evaluated subnet, most accurate first."""
    records, space = found.records, found.space
    if records is None or space is None:
        return []
    costs = {metric: space.cost(metric).evaluate(records.population) for metric in ("macs", "params")}
    times = {device: table.evaluate(records.population) for device, table in latencies.items()}
    architectures = space.decode(records.population)
    order = sorted(range(len(records)), key=lambda i: (-records.accuracies[i], records.keys[i]))
    return [
        {
            "key": records.keys[i],
            "origin": records.origins[i],
            "accuracy": float(records.accuracies[i]),
            **{metric: int(values[i]) for metric, values in costs.items()},
            "latency": {device: float(values[i]) for device, values in times.items()},
            "architecture": architectures[i].to_json(),
        }
        for i in order
    ]


def _predictor(found: Sources) -> dict[str, Any] | None:
    """The grade on held-out records (None: published, not graded); and predictions that were checked after: every
    candidate the search tried.
    """
    predictor = found.predictor
    if predictor is None:
        return None
    checked: dict[str, dict[str, Any]] = {}
    for budget in [] if found.search is None else found.search["budgets"]:
        for candidate in budget["candidates"]:
            if candidate["selection_accuracy"] is not None:
                accuracy = candidate["selection_accuracy"]
                checked[candidate["key"]] = {"predicted": candidate["predicted_accuracy"], "accuracy": accuracy}
    return {
        "model": predictor.name,
        "grade": None if predictor.grade is None else asdict(predictor.grade),
        "published": None if predictor.published is None else asdict(predictor.published),
        "checked": [{"key": key, **facts} for key, facts in checked.items()],
    }


def _winners(found: Sources, latencies: Mapping[str, CostTable]) -> list[dict[str, Any]]:
    if found.search is None or found.space is None:
        return []
    return [
        _winner(budget, found.exports.get(budget["name"]), found.space, latencies) for budget in found.search["budgets"]
    ]


def _winner(
    budget: dict[str, Any], export: dict[str, Any] | None, space: SearchSpace, latencies: Mapping[str, CostTable]
) -> dict[str, Any]:
    winner = budget["winner"]
    architecture = Architecture.from_json(winner["architecture"])
    statuses = [candidate["status"] for candidate in budget["candidates"]]
    return {
        "budget": budget["name"],
        "limits": budget["limits"],
        "written": budget["written"],
        "key": winner["key"],
        "architecture": winner["architecture"],
        "predicted_accuracy": winner["predicted_accuracy"],
        "predicted_costs": winner["predicted_costs"],
        "measured": winner["measured"],
        "selection_accuracy": winner["selection_accuracy"],
        "int8_accuracy": winner.get("int8_accuracy"),
        "chosen_by": budget.get("chosen_by", "selection_accuracy"),
        "costs": exact_costs(space, architecture),
        "layers": describe_layers(space, architecture, latencies),
        "search": {
            "algorithm": budget["algorithm"],
            "num_scored": budget["num_scored"],
            "rounds": budget["rounds"],
            "num_candidates": len(statuses),
            "num_rejected": statuses.count("rejected"),
        },
        "export": None if export is None else _export(export, budget["name"]),
    }


def _export(export: dict[str, Any], name: str) -> dict[str, Any]:
    keys = ("accuracy", "latency", "boards", "forms", "failed", "finetuning", "network_sha256")
    return {"folder": f"{FOLDER}/{name}", **{key: export.get(key) for key in keys}}


def _test_readings(found: Sources) -> dict[str, int]:
    """How often the test split was opened, once a file, and how many networks have a score on it."""
    opened = [line for line in found.ledger if line.get("event") == "opened"]
    scored = {str(line["key"]).partition("/")[0] for line in found.ledger if line.get("event") == "scored"}
    return {"opened": len(opened), "scored": len(scored)}
