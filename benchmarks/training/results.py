"""What the finished cells found, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.cell import Cell
from benchmarks.training.curves import Floats
from search_spaces.common.files import read_json

COSTS = ("forward_macs", "backward_macs", "teacher_macs", "selection_macs")


@dataclass(frozen=True)
class Trained:
    """The finished trainings of one label: `accuracies` (num_seeds, num) in 0..1 of the architectures `keys`, and what
    was spent on them, by seed.
    """

    label: str
    epochs: float
    seeds: tuple[int, ...]
    keys: tuple[str, ...]
    sizes: dict[str, Floats]
    accuracies: Floats
    losses: Floats
    costs: tuple[dict[str, float], ...]

    def of(self, keys: Sequence[str]) -> Floats:
        """The columns of these architectures, which must be among the evaluated ones."""
        return self.accuracies[:, [self.keys.index(key) for key in keys]]

    def cost(self, name: str) -> float:
        """Mean over seeds."""
        return float(np.mean([cost[name] for cost in self.costs]))

    @property
    def macs(self) -> float:
        """All MACs spent on training; mean over seeds."""
        return sum(self.cost(name) for name in COSTS)


def finished_recipes(cells: Sequence[Cell], results: Path) -> list[Trained]:
    """One entry for each label with a finished cell, in the order of the cells."""
    by_label: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.is_done(results):
            by_label.setdefault(cell.label, []).append(cell)
    return [_trained(label, done, [_read(cell, results) for cell in done]) for label, done in by_label.items()]


def finished_networks(cells: Sequence[Cell], results: Path, label: str) -> Trained | None:
    """Cells of one network each as if they were one, by rising MACs: of the seeds with the most finished networks, the
    networks that all of these have.
    """
    done = {(cell.seed, cell.evaluated[0].key): cell for cell in cells if cell.is_done(results)}
    keys = list(dict.fromkeys(cell.evaluated[0].key for cell in cells))
    counts = {seed: sum((seed, key) in done for key in keys) for seed in dict.fromkeys(cell.seed for cell in cells)}
    most = max(counts.values(), default=0)
    seeds = [seed for seed, count in counts.items() if count == most]
    keys = [key for key in keys if all((seed, key) in done for seed in seeds)]
    if not keys:
        return None
    rows = [[_read(done[seed, key], results) for key in keys] for seed in seeds]
    order = np.argsort([found["evaluations"][0]["macs"] for found in rows[0]], kind="stable")
    rows = [[row[place] for place in order] for row in rows]
    merged = [
        {
            "evaluations": [found["evaluations"][0] for found in row],
            "cost": {name: float(np.mean([found["cost"][name] for found in row])) for name in (*COSTS, "cpu_seconds")},
        }
        for row in rows
    ]
    return _trained(label, [done[seed, keys[0]] for seed in seeds], merged)


def _trained(label: str, cells: Sequence[Cell], found: Sequence[dict[str, Any]]) -> Trained:
    evaluations = [result["evaluations"] for result in found]
    first = evaluations[0]
    return Trained(
        label=label,
        epochs=cells[0].epochs,
        seeds=tuple(cell.seed for cell in cells),
        keys=tuple(entry["key"] for entry in first),
        sizes={name: np.array([entry[name] for entry in first]) for name in ("macs", "params", "depth")},
        accuracies=np.array([[entry["accuracy"] for entry in row] for row in evaluations]),
        losses=np.array([[entry["loss"] for entry in row] for row in evaluations]),
        costs=tuple(result["cost"] for result in found),
    )


def _read(cell: Cell, results: Path) -> dict[str, Any]:
    found = read_json(cell.file(results), "benchmark result")
    assert isinstance(found, dict)
    return found
