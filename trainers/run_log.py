"""What a run tells while it trains: TensorBoard scalars and one JSON line per logged step or evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from search_spaces.common.files import append_line, read_lines
from trainers.accounting import Ledger, share_of_steps
from trainers.evaluation.evaluate import Evaluation
from trainers.loss_watch import LossWatch, StepRecord, TrainingFault
from trainers.phases import Phase
from trainers.sampling.sampler import Subnet

#: charts of TensorBoard's tab "custom scalars": every role in one
_LAYOUT = {
    "training": {
        "loss by role": ["Multiline", ["^loss/.*"]],
        "learning rate": ["Multiline", ["^learning_rate$"]],
        "gradient norm": ["Multiline", ["^gradient_norm$"]],
    },
    "selection split": {
        "accuracy by role": ["Multiline", ["^selection_accuracy/.*"]],
        "loss by role": ["Multiline", ["^selection_loss/.*"]],
    },
    "speed": {
        "images per second": ["Multiline", ["^images_per_second$"]],
        "share of time spent on images": ["Multiline", ["^data_share$"]],
        "MACs spent": ["Multiline", ["^training_macs$"]],
    },
}


class RunLog:
    """Keeps the losses of recent steps on their device and looks at them every `every` steps.

    A resumed run comes to the same numbers again: `training.jsonl` takes only lines it has not, and TensorBoard drops
    what it has of later steps than the one the run goes on from. Where not `writes` (ranks above 0) losses are still
    checked, so that every process stops together.
    """

    def __init__(
        self,
        run: Path,
        watch: LossWatch,
        *,
        start: int,
        every: int,
        batch_size: int,
        writes: bool,
        ledger: Ledger,
    ) -> None:
        self.path, self.every, self.batch_size, self.writes = run / "training.jsonl", every, batch_size, writes
        self.watch = watch
        self.pending: list[StepRecord] = []
        self.last: StepRecord | None = None
        self.evaluations: dict[int, dict[str, Any]] = {}
        self.logged = {"step": 0, "evaluation": 0}
        self.since, self.steps = time.monotonic(), 0
        self.ledger = ledger
        self.seconds = dict(self.ledger.seconds)
        self.tensorboard: Any = None
        if writes:
            from torch.utils.tensorboard import SummaryWriter

            for line in read_lines(self.path, "training log"):
                if isinstance(line, dict) and line.get("kind") in self.logged:
                    self.logged[line["kind"]] = max(self.logged[line["kind"]], line["step"])
                    if line["kind"] == "evaluation":
                        self.evaluations[line["step"]] = line
            # after `start` steps: what was logged of step `start` itself is not logged again
            self.tensorboard = SummaryWriter(str(run / "tensorboard"), purge_step=start + 1)
            self.tensorboard.add_custom_scalars(_LAYOUT)
            for step in self.evaluations:  # these are taken from the log, never made again
                if step > start:
                    self._show_evaluation(step, self.evaluation_of(step) or {})

    def step(self, record: StepRecord) -> None:
        self.pending.append(record)
        self.last = record
        self.steps += 1
        if (record.step + 1) % self.every == 0:
            self.flush()

    def flush(self, *, alone: bool = False) -> None:
        """Check all pending losses and log the steps due. Raises `TrainingFault` at the first that is at fault.

        `alone`: the other ranks do not do so at this step.
        """
        for record, losses, grad_norm in _read(self.pending):
            fault = self.watch.check(record, losses, grad_norm)
            if fault is not None:
                raise TrainingFault(record, fault, known=not alone)
            if self.writes and (record.step + 1) % self.every == 0:
                self._log_step(record, _mean_by_role(record.subnets, losses), grad_norm)
        self.pending.clear()

    def evaluation_of(self, step: int) -> dict[str, tuple[str, Evaluation]] | None:
        """The evaluations logged after `step` steps, {role: (architecture key, evaluation)}."""
        line = self.evaluations.get(step, {})
        fields = ("accuracy", "loss", "num_images")
        found = {
            role: (entry["key"], Evaluation(**{name: entry[name] for name in fields}))
            for role, entry in line.items()
            if isinstance(entry, dict) and entry.keys() >= {"key", *fields}
        }
        return found or None

    def evaluation(
        self, step: int, phase: Phase, results: Mapping[str, tuple[str, Evaluation]], **more: float | bool
    ) -> None:
        """Log evaluations, {role: (architecture key, evaluation)}, after `step` steps, and what `more` says of them."""
        self._show_evaluation(step, results)
        entries = {role: {"key": key, **asdict(result)} for role, (key, result) in results.items()}
        self._line("evaluation", step, phase, {**entries, **more})
        self.since, self.steps = time.monotonic(), 0

    def close(self) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _show_evaluation(self, step: int, results: Mapping[str, tuple[str, Evaluation]]) -> None:
        for role, (_, result) in results.items():
            self.tensorboard.add_scalar(f"selection_accuracy/{role}", result.accuracy, step)
            self.tensorboard.add_scalar(f"selection_loss/{role}", result.loss, step)
        self.tensorboard.flush()

    def _log_step(self, record: StepRecord, losses: dict[str, float], grad_norm: float) -> None:
        step, lr, now = record.step + 1, record.lr, time.monotonic()
        speed = self.batch_size * self.steps / max(now - self.since, 1e-9)
        self.since, self.steps = now, 0
        self.tensorboard.add_scalar("learning_rate", lr, step)
        self.tensorboard.add_scalar("images_per_second", speed, step)
        self.tensorboard.add_scalar("data_share", self._data_share(), step)
        self.tensorboard.add_scalar("training_macs", record.macs, step)
        for role, loss in losses.items():
            self.tensorboard.add_scalar(f"loss/{role}", loss, step)
        self.tensorboard.add_scalar("gradient_norm", grad_norm, step)
        content = {
            "lr": lr,
            "loss": losses,
            "gradient_norm": grad_norm,
            "macs": record.macs,
            "subnets": [subnet.architecture.key for subnet in record.subnets],
            "images_per_second": round(speed, 1),
        }
        self.tensorboard.flush()  # as `training.jsonl`: nothing is lost with a process that is killed
        self._line("step", step, record.phase, content)

    def _data_share(self) -> float:
        """What steps since the last logged one spent on waiting for images or making them."""
        before, self.seconds = self.seconds, dict(self.ledger.seconds)
        return share_of_steps({part: spent - before[part] for part, spent in self.seconds.items()}, "data")

    def _line(self, kind: str, step: int, phase: Phase, content: dict[str, Any]) -> None:
        if step > self.logged[kind]:
            append_line(self.path, {"kind": kind, "step": step, "phase": phase.settings.name, **content})
            self.logged[kind] = step


def _read(records: Sequence[StepRecord]) -> Iterator[tuple[StepRecord, list[float], float]]:
    """Losses and gradient norm of every record as numbers, brought from their device in one copy."""
    if not records:
        return
    norms = [record.grad_norm.reshape(1).to(record.losses.dtype) for record in records]
    values = torch.cat([*(record.losses for record in records), *norms]).tolist()
    place = 0
    for record, grad_norm in zip(records, values[-len(records) :], strict=True):
        yield record, values[place : place + len(record.losses)], grad_norm
        place += len(record.losses)


def _mean_by_role(subnets: Sequence[Subnet], values: Sequence[float]) -> dict[str, float]:
    by_role: dict[str, list[float]] = {}
    for subnet, value in zip(subnets, values, strict=True):
        by_role.setdefault(subnet.role, []).append(value)
    return {role: sum(found) / len(found) for role, found in by_role.items()}
