"""A finished run with invented numbers: made by the project's own writers, but nothing is trained or measured."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml

from latency_tables.table import grade, load_table
from ofa.export.export import SCHEMA as EXPORT_SCHEMA
from ofa.export.layers import describe_layers, exact_costs
from ofa.export.reference import SCHEMA as REFERENCE_SCHEMA
from ofa.search.budgets import ResolvedBudget
from ofa.search.facts import outcome_facts
from ofa.search.finalists import choose_winners
from ofa.search.measurements import MeasurementBook, Median
from ofa.search.run import search
from ofa.search.settings import SearchSettings
from predictors.base import load_predictor
from predictors.fit import fit_predictor
from predictors.record_file import RecordBook
from predictors.settings import PredictorSettings
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.files import append_line, write_json, write_text
from search_spaces.costs import CostTable

#: names that must come out escaped
NAME = 'digits <b>&amp;</b> "quoted" </script><img src=x onerror=alert(1)>'
CLASSES = ["zero", "<one>", "two"]
WEIGHTS = "ab" * 32
SPLITS = {split: f"{index}" * 64 for index, split in enumerate(("train", "calibration", "selection", "test"))}


@dataclass(frozen=True)
class Run:
    folder: Path
    space: SearchSpace
    costs: dict[str, CostTable]

    def copy(self, to: Path) -> Run:
        return Run(Path(shutil.copytree(self.folder, to)), self.space, self.costs)


def accuracy_of(space: SearchSpace, architecture: Architecture) -> float:
    """More work, more accuracy, with noise that depends on the network."""
    macs = float(space.cost("macs").evaluate(space.encode([architecture]))[0])
    noise = (int(architecture.key, 16) % 1000) / 1000 - 0.5
    return float(np.clip(0.7 + 0.02 * np.log(macs / 1e4) + 0.01 * noise, 0, 1))


def write_run(folder: Path, *, num_records: int = 40, other_device: str | None = None) -> Run:
    """A finished run of so many evaluated networks, with one device or two; budgets are of the first, `here`."""
    settings = {"name": "mobilenet_v3_digits", "resolution": [20, 28], "depth": [1, 2], "kernel": [3, 5]}
    space = get_space(settings, num_classes=3, in_channels=1)
    devices = ["here", *([] if other_device is None else [other_device])]
    write_text(folder / "config.yaml", yaml.safe_dump(_config(settings, devices), allow_unicode=True))
    write_json(folder / "supernet.json", _supernet(space))
    _write_training(folder)
    for number, device in enumerate(devices):
        _write_table(folder, space, device, slope=1.1 + number)
    architectures = space.decode(space.sample(num_records, np.random.default_rng(1)))
    _write_records(folder, space, architectures[:40])
    config = SimpleNamespace(seed=0, predictor=PredictorSettings(candidates=("ridge",), bootstrap=100))
    fit_predictor(folder, config, quiet=True)
    _write_records(folder, space, architectures[40:])  # which would take minutes to fit
    costs = {metric: space.cost(metric) for metric in ("macs", "params", "peak_memory", "flash")}
    for device in devices:
        costs[f"latency@{device}"] = load_table(folder / "tables" / f"{device}.json").cost(space)
    run = Run(folder, space, costs)
    _write_search(run)
    _write_exports(run)
    return run


def _config(space: dict[str, object], devices: list[str]) -> dict[str, object]:
    listed = [{"name": device, "runtime": "onnxruntime"} for device in devices]
    return {"name": NAME, "seed": 0, "space": space, "devices": listed}


def _supernet(space: SearchSpace) -> dict[str, object]:
    sizes = {"train": 700, "calibration": 100, "selection": 100, "test": 100}
    data = {"name": "invented", "class_names": CLASSES, "image_size": 28, "in_channels": 1}
    return {
        "schema": 1,
        "space": space.description,
        "fingerprint": space.fingerprint,
        "weights_sha256": WEIGHTS,
        "data": {**data, "split_sizes": sizes, "split_sha256": SPLITS},
        "seed": 0,
        "step": 300,
    }


def _write_training(folder: Path) -> None:
    for step in range(20, 301, 20):
        loss = {role: 2.0 / (1 + step / 50) + extra for role, extra in (("largest", 0.0), ("smallest", 0.2))}
        append_line(folder / "training.jsonl", {"kind": "step", "step": step, "phase": "all", "lr": 0.1, "loss": loss})
        if step % 100 == 0:
            found = {role: {"key": "x", "accuracy": 0.6 + step / 1000, "loss": 0.5} for role in ("largest", "smallest")}
            append_line(folder / "training.jsonl", {"kind": "evaluation", "step": step, "phase": "all", **found})


def _write_table(folder: Path, space: SearchSpace, device: str, *, slope: float) -> None:
    def entry(value: float) -> dict[str, float | int]:
        return {"median_ms": value, "p10_ms": 0.9 * value, "p90_ms": 1.2 * value, "count": 20}

    rng = np.random.default_rng(0)
    population = space.sample(24, rng)
    measured = np.linspace(0.05, 0.4, 24)
    predicted = measured * (1 + 0.05 * np.sin(np.arange(24)))
    heldout = grade(space.decode(population), predicted, measured)
    machine = {"cpu": "Invented <CPU>", "cores": 2, "machine": "x86_64", "os": "Linux", "precision": "float32"}
    write_json(
        folder / "tables" / f"{device}.json",
        {
            "schema": 1,
            "metric": "latency",
            "unit": "ms",
            "created": "2025-01-01T00:00:00+00:00",
            "space": {"name": space.name, "fingerprint": space.fingerprint, "description": space.description},
            "device": {**machine, "runtime": "onnxruntime", "runtime_version": "1.0", "threads": 1},
            "settings": {"name": "here", "runtime": "onnxruntime"},
            "seed": 0,
            "overhead_ms": 0.001,
            "entries": {
                key: entry(0.002 + 1e-7 * float(operator.macs())) for key, operator in space.operators().items()
            },
            "correction": {"slope": slope, "intercept_ms": 0.01, "num": 12},
            "heldout": heldout.model_dump(mode="json"),
            "conditions": {"load_start": 0.1, "load_end": 0.2, "disturbed": 0.01},
        },
    )


def _write_records(folder: Path, space: SearchSpace, architectures: list[Architecture]) -> None:
    identity = {"weights_sha256": WEIGHTS}
    identity |= {f"{split}_sha256": SPLITS[split] for split in ("calibration", "selection")}
    book = RecordBook(folder / "records.jsonl", space, identity=identity)
    for architecture in architectures:
        result = SimpleNamespace(accuracy=accuracy_of(space, architecture), loss=0.3, num_images=100)
        book.accuracy(architecture, lambda _, result=result: result, origin="sampled")


def _write_search(run: Run) -> None:
    space, costs = run.space, run.costs
    low, high = costs["latency@here"].minimum()[0], costs["latency@here"].maximum()[0]
    budgets = [
        ResolvedBudget(name, {"latency@here": low + part * (high - low)}, {"latency": f"{part:.0%}"})
        for name, part in (("small", 0.2), ("large", 0.7))
    ]
    limits = {name: {"latency": "1ms"} for name in ("small", "large")}
    settings = SearchSettings(budgets=limits, algorithm="evolution", generations=5, candidates=4)
    predict = load_predictor(run.folder / "predictor").bind(space)

    def measure(architectures: list[Architecture]) -> list[Median]:
        times = costs["latency@here"].evaluate(space.encode(architectures))
        return [Median(0.98 * t, 0.95 * t, 1.1 * t, 20) for t in times]

    ranked = search(space, predict, costs, budgets, settings)
    outcome = choose_winners(
        space,
        predict,
        costs,
        ranked,
        evaluate=lambda architecture: accuracy_of(space, architecture),
        books={
            "latency@here": MeasurementBook(
                run.folder / "measurements.jsonl", device="here", setup="invented", measure=measure
            )
        },
        again=lambda budget: ranked[budget.name],
        quiet=True,
    )
    facts = outcome_facts(space, predict, costs, outcome, ranked)
    write_json(run.folder / "search.json", {"inputs": "x", "weights_sha256": WEIGHTS, "seed": 0, **facts})


def _write_exports(run: Run) -> None:
    from search_spaces.common.files import read_json

    score = {"loss": 0.3, "num_images": 100, "form": "onnx"}
    latencies = {"here": run.costs["latency@here"]}
    for budget in read_json(run.folder / "search.json", "search")["budgets"]:
        winner = budget["winner"]
        architecture = Architecture.from_json(winner["architecture"])
        predicted = winner["predicted_costs"]["latency@here"]
        measured = {"median_ms": 0.97 * predicted, "p10_ms": 0.9, "p90_ms": 1.1, "count": 20, "form": "onnx"}
        write_json(
            run.folder / "specialized" / budget["name"] / "report.json",
            {
                "schema": EXPORT_SCHEMA,
                "key": architecture.key,
                "accuracy": {
                    "selection": {"accuracy": winner["selection_accuracy"], **score},
                    "test": {"accuracy": winner["selection_accuracy"] - 0.0123, **score},
                },
                "latency": {"here": {"predicted_ms": predicted, "measured": measured}},
                "layers": describe_layers(run.space, architecture, latencies),
                "forms": {
                    "onnx": {
                        "file": "model.onnx",
                        "bytes": 54321,
                        "sha256": "cd" * 32,
                        "max_abs": 2.5e-7,
                        "num_images": 64,
                    }
                },
                "finetuning": None,
                "network_sha256": "ef" * 32,
            },
        )
        for event in ("opened", "scored"):
            line = {"event": event, "key": architecture.key, "split_sha256": SPLITS["test"], "score": {"accuracy": 0.9}}
            append_line(run.folder / "test_ledger.jsonl", line)
    largest = run.space.decode(run.space.largest())[0]
    accuracy = {split: {"accuracy": 0.9876, **score} for split in ("selection", "test")}
    write_json(
        run.folder / "reference.json",
        {
            "schema": REFERENCE_SCHEMA,
            "key": largest.key,
            "architecture": largest.to_json(),
            "accuracy": accuracy,
            "costs": exact_costs(run.space, largest),
            "latency": {"here": 0.5},
        },
    )
