"""One unit of the experiment: one training and the evaluation of what it gave, kept as one JSON file."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from benchmarks.peer.machine import checkout, machine_facts
from benchmarks.training.architectures import sizes
from benchmarks.training.budget import MACS_PER_SECOND
from benchmarks.training.setting import Setting
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json, write_json
from trainers.settings.train import TrainingConfig

SCHEMA = 1
Kind = Literal["recipe", "alone", "finetune"]


def cell_name(kind: Kind, label: str, seed: int) -> str:
    return f"{'' if kind == 'recipe' else f'{kind}-'}{label}-seed{seed}"


@dataclass(frozen=True)
class Cell:
    """A training by its config sections, and the architectures that are scored after it.

    `label` says what is compared: a recipe, or the key of the network that is trained alone. `space` and `train` are
    whole sections of a config. `source` is the supernet that a network to be fine-tuned is taken from.
    """

    kind: Kind
    label: str
    seed: int
    setting: Setting
    space: Mapping[str, Any]
    train: Mapping[str, Any]
    evaluated: tuple[Architecture, ...]
    planned_macs: float
    source: Cell | None = None

    @property
    def name(self) -> str:
        """Names the result file and the work folder."""
        return cell_name(self.kind, self.label, self.seed)

    @property
    def epochs(self) -> float:
        phases = self.train.get("phases")
        return float(sum(phase["epochs"] for phase in phases) if phases else self.train["epochs"])

    @property
    def inputs(self) -> dict[str, Any]:
        """All that decides the result, as JSON. Only what is set: a new setting of the trainer, left at its default,
        changes no result.
        """
        source = {} if self.source is None else {"source": self.source.inputs_sha256}
        return source | {
            "kind": self.kind,
            "seed": self.seed,
            "space": dict(self.space),
            "data": dict(self.setting.data),
            "train": dict(self.train),
            "evaluated": [architecture.to_json() for architecture in self.evaluated],
        }

    @cached_property
    def inputs_sha256(self) -> str:
        return digest(self.inputs)

    @cached_property
    def built_space(self) -> SearchSpace:
        return self.setting.build_space(self.space)

    @property
    def estimated_minutes(self) -> float:
        """Minutes of one core."""
        return self.planned_macs / MACS_PER_SECOND / 60

    def file(self, results: Path) -> Path:
        return results / f"{self.name}.json"

    def is_done(self, results: Path) -> bool:
        """Whether there is a result, of these very inputs."""
        path = self.file(results)
        if not path.exists():
            return False
        result = read_json(path, "benchmark result")
        return isinstance(result, dict) and result.get("inputs_sha256") == self.inputs_sha256

    def run(self, work: Path) -> Path:
        """The run folder of the training."""
        return work / f"{self.name}-{self.inputs_sha256[:8]}"

    def carry_out(self, results: Path, work: Path) -> dict[str, Any]:
        """Train (or go on with the training in `work`), evaluate, write the result."""
        from trainers.checkpoints.store import load_supernet
        from trainers.data import load_data
        from trainers.evaluation.together import evaluate_together
        from trainers.training import train

        run = self.run(work)
        config = self.setting.config(self.name, seed=self.seed, space=self.space, train=self._train_section(work))
        _start_over_if_strange(config, run)
        train(config, run)
        data = load_data(config.data, seed=self.seed)
        loaded = load_supernet(run)
        steps = data.steps_per_epoch(config.train.batch_size)
        assert steps == self.setting.steps_per_epoch, "the setting counts its images wrongly"
        architectures = list(self.evaluated)
        scores = evaluate_together(loaded.supernet, architectures, data)
        result = {
            "schema": SCHEMA,
            "kind": self.kind,
            "label": self.label,
            "seed": self.seed,
            "inputs_sha256": self.inputs_sha256,
            "inputs": self.inputs,
            "cost": {"planned_macs": self.planned_macs, **loaded.info["cost"]},
            "evaluations": [
                {"key": architecture.key, **size, **asdict(score)}
                for architecture, size, score in zip(
                    architectures, sizes(self.built_space, architectures), scores, strict=True
                )
            ],
            "commit": checkout(),
            "machine": machine_facts(),
        }
        write_json(self.file(results), result)
        for leftover in ("checkpoints", "tensorboard"):  # the supernet stays: subnets may be trained on
            shutil.rmtree(run / leftover, ignore_errors=True)
        return result

    def _train_section(self, work: Path) -> dict[str, Any]:
        if self.source is None:
            return dict(self.train)
        run = self.source.run(work)
        if not (run / "supernet.json").exists():
            raise UserError("no trained supernet here to take networks from", file=run, hint="Run benchmarks.recipes")
        return {**self.train, "init": {"run": str(run)}}


def _start_over_if_strange(config: TrainingConfig, run: Path) -> None:
    """Delete a training in `run` that another version of the trainer began, and that this one cannot go on with."""
    from trainers.training import check_same_training

    try:
        check_same_training(config, run)
    except UserError as error:
        print(f"{error}: starting over", file=sys.stderr, flush=True)
        shutil.rmtree(run)
