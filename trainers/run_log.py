"""What a run tells while it trains: TensorBoard scalars and one JSON line per logged step or evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines
from trainers.evaluation import Evaluation
from trainers.phases import Phase
from trainers.sampler import Subnet


class RunLog:
    """Keeps the losses of recent steps on their device and looks at them every `every` steps.

    A resumed run comes to the same numbers again: `training.jsonl` takes only lines it has not, and TensorBoard
    drops what it has from the resumed step on. Where not `writes` (ranks above 0) losses are still checked, so
    that every process stops together.
    """

    def __init__(self, run: Path, *, start: int, every: int, batch_size: int, writes: bool) -> None:
        self.path, self.every, self.batch_size, self.writes = run / "training.jsonl", every, batch_size, writes
        self.pending: list[tuple[int, Phase, float, Sequence[Subnet], Tensor, int]] = []
        self.logged = {"step": 0, "evaluation": 0}
        self.since, self.steps = time.monotonic(), 0
        self.tensorboard: Any = None
        if writes:
            from torch.utils.tensorboard import SummaryWriter

            for line in read_lines(self.path, "training log"):
                if isinstance(line, dict) and line.get("kind") in self.logged:
                    self.logged[line["kind"]] = max(self.logged[line["kind"]], line["step"])
            self.tensorboard = SummaryWriter(str(run / "tensorboard"), purge_step=start)

    def step(self, step: int, phase: Phase, lr: float, subnets: Sequence[Subnet], losses: Tensor, *, macs: int) -> None:
        """Take in the losses (num_subnets,) of a step, and the MACs that the run has spent until after it."""
        self.pending.append((step, phase, lr, subnets, losses, macs))
        self.steps += 1
        if (step + 1) % self.every == 0:
            self.flush()

    def flush(self) -> None:
        """Check all pending losses and log the steps due. Raises `UserError` at the first loss that is not finite."""
        for step, phase, lr, subnets, losses, macs in self.pending:
            values = losses.tolist()
            for subnet, value in zip(subnets, values, strict=True):
                if not math.isfinite(value):
                    raise UserError(
                        f"the loss of the {subnet.role} subnet {subnet.architecture.to_json()} became {value} "
                        f"at step {step} (phase {phase.settings.name!r}, learning rate {lr:.3g})",
                        hint="Lower train.optimizer.lr or set train.clip_grad_norm. The checkpoints before it are kept",
                    )
            if self.writes and (step + 1) % self.every == 0:
                self._log_step(step + 1, phase, lr, _mean_by_role(subnets, values), macs)
        self.pending.clear()

    def is_evaluated(self, step: int) -> bool:
        return step <= self.logged["evaluation"]

    def evaluation(self, step: int, phase: Phase, results: Mapping[str, tuple[str, Evaluation]]) -> None:
        """Log evaluations, {role: (architecture key, evaluation)}, after `step` steps."""
        for role, (_, result) in results.items():
            self.tensorboard.add_scalar(f"selection_accuracy/{role}", result.accuracy, step)
            self.tensorboard.add_scalar(f"selection_loss/{role}", result.loss, step)
        entries = {role: {"key": key, **asdict(result)} for role, (key, result) in results.items()}
        self._line("evaluation", step, phase, entries)
        self.since, self.steps = time.monotonic(), 0

    def close(self) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()

    def _log_step(self, step: int, phase: Phase, lr: float, losses: dict[str, float], macs: int) -> None:
        now = time.monotonic()
        speed = self.batch_size * self.steps / max(now - self.since, 1e-9)
        self.since, self.steps = now, 0
        self.tensorboard.add_scalar("learning_rate", lr, step)
        self.tensorboard.add_scalar("images_per_second", speed, step)
        self.tensorboard.add_scalar("training_macs", macs, step)
        for role, loss in losses.items():
            self.tensorboard.add_scalar(f"loss/{role}", loss, step)
        content = {"lr": lr, "loss": losses, "macs": macs, "images_per_second": round(speed, 1)}
        self._line("step", step, phase, content)

    def _line(self, kind: str, step: int, phase: Phase, content: dict[str, Any]) -> None:
        if step > self.logged[kind]:
            append_line(self.path, {"kind": kind, "step": step, "phase": phase.settings.name, **content})
            self.logged[kind] = step


def _mean_by_role(subnets: Sequence[Subnet], values: Sequence[float]) -> dict[str, float]:
    by_role: dict[str, list[float]] = {}
    for subnet, value in zip(subnets, values, strict=True):
        by_role.setdefault(subnet.role, []).append(value)
    return {role: sum(found) / len(found) for role, found in by_role.items()}
