"""A cheap stand-in for a supernet and its images: accuracies by formula, each evaluation a line of a file of its own.

`python tabular.py RUN STORAGE NUM SAMPLER SECONDS STALE` is one worker, which tests kill.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ofa.search.budgets import parse_max
from ofa.search.settings import SearchSettings
from predictors.record_file import RecordBook
from search_spaces import Architecture, SearchSpace
from search_spaces.common.files import append_line

IDENTITY = {"weights_sha256": "w" * 64, "calibration_sha256": "c" * 64, "selection_sha256": "s" * 64}
BUDGET = parse_max(["macs=50%"])


def config() -> SimpleNamespace:
    return SimpleNamespace(
        seed=0, devices=(), search=SearchSettings.model_validate({"budgets": {"small": {"macs": "50%"}}})
    )


def accuracy_of(space: SearchSpace, row: np.ndarray) -> float:
    """Larger is better, and every gene has a taste of its own."""
    size = float(np.log(space.cost("macs").evaluate(row[None])[0]))
    taste = float(
        space.one_hot(row[None])[0] @ np.random.default_rng(5).normal(size=int(space.genome.num_options.sum()))
    )
    return float(1 / (1 + np.exp(-(0.3 * (size - 12) + 0.1 * taste))))


class TabularEvaluator:
    """`evaluations.jsonl` of the run holds a line per evaluation that was begun."""

    def __init__(self, run: Path, *, seconds: float = 0.0, records: str = "records.jsonl") -> None:
        self.run, self.seconds = run, seconds
        self.space = SearchSpace.from_description(json.loads((run / "supernet.json").read_text())["space"])
        self.book = RecordBook(run / records, self.space, identity=IDENTITY)

    def __call__(self, architecture: Architecture) -> SimpleNamespace:
        append_line(self.run / "evaluations.jsonl", {"key": architecture.key, "pid": os.getpid()})
        time.sleep(self.seconds)
        row = self.space.encode([architecture])[0]
        return SimpleNamespace(accuracy=accuracy_of(self.space, row), loss=1.0, num_images=10)


def make_run(folder: Path, space: SearchSpace) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    description = {"space": space.description, "weights_sha256": IDENTITY["weights_sha256"]}
    (folder / "supernet.json").write_text(json.dumps(description))
    return folder


def evaluations(run: Path) -> list[str]:
    """The keys of all evaluations that were begun, in order."""
    path = run / "evaluations.jsonl"
    return [json.loads(line)["key"] for line in path.read_text().splitlines()] if path.exists() else []


def main(run: str, storage: str, num: str, sampler: str, seconds: str, stale: str) -> None:
    from ofa.search.study.run import run_study

    evaluator = TabularEvaluator(Path(run), seconds=float(seconds))
    facts = run_study(
        Path(run),
        config(),
        storage=storage,
        study_name="tabular",
        sampler=sampler,
        num=int(num),
        budget=BUDGET,
        evaluator=evaluator,
        stale_after_s=float(stale),
        quiet=True,
    )
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
