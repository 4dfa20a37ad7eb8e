"""When a loss is no longer that of a training: not a number, or far above what it was."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainers.phases import Phase
from trainers.sampling.sampler import Subnet

#: losses of a role that its median is taken over, and how many there must be for it to count
_WINDOW, _ENOUGH = 100, 20


@dataclass(frozen=True)
class StepRecord:
    """What a step did: `losses` (num_subnets,), and `grad_norm`, the norm of its whole gradient before clipping.

    `macs`: what the run has spent until after it.
    """

    step: int
    phase: Phase
    lr: float
    subnets: Sequence[Subnet]
    losses: Tensor
    grad_norm: Tensor
    macs: int = 0


@dataclass(frozen=True)
class Fault:
    """What is wrong with a step, as a clause; `failing` describes the subnet that shows it, if one does.

    `bad_from`: the first checkpoint, by its step, that can hold a network which this fault has reached.
    """

    what: str
    bad_from: int
    failing: Mapping[str, Any] | None = None
    median: float | None = None
    limit: float | None = None


class TrainingFault(Exception):
    """A step, or the state it left, is not that of a training any more. `known`: on every rank, not on rank 0 alone."""

    def __init__(self, record: StepRecord, fault: Fault, *, known: bool) -> None:
        super().__init__(fault.what)
        self.record, self.fault, self.known = record, fault, known


class LossWatch:
    """Compares every loss with the recent ones of its role (largest, smallest, random) in the phase.

    A loss is too high if it is above `factor` x the median of the last 100 of its role, and also above
    `factor` / 2 x the loss of guessing (ln num_classes, times the weight of the phase's losses): batches that are
    merely hard, and losses that doubled on their way to 0, are no fault. Before there are 20, the loss of guessing
    stands for the median. `factor` None: only what is not finite is a fault.
    """

    def __init__(self, *, num_classes: int, factor: float | None) -> None:
        self.guessing, self.factor = math.log(num_classes), factor
        self._phase = -1
        self._recent: dict[str, deque[float]] = {}

    def check(self, record: StepRecord, losses: Sequence[float], grad_norm: float) -> Fault | None:
        """The first fault of a step, and with none its losses join the recent ones. Steps must come in their order."""
        if record.phase.index != self._phase:
            self._phase, self._recent = record.phase.index, {}
        for subnet, loss in zip(record.subnets, losses, strict=True):
            median, limit = self._limit(subnet.role, record.phase)
            if math.isfinite(loss) and (limit is None or loss <= limit):
                continue
            what = f"the loss of the {subnet.role} subnet {subnet.architecture.to_json()} became {loss:.4g}"
            if math.isfinite(loss):
                usual = f"guessing has {self.guessing:.3g}" if median is None else f"{median:.3g} is usual"
                what += f" (limit {limit:.3g}; {usual})"
            return Fault(what, record.step, described(subnet, loss), median, limit)
        if not math.isfinite(grad_norm):
            return Fault(f"the norm of the gradient became {grad_norm}", record.step + 1)
        for subnet, loss in zip(record.subnets, losses, strict=True):
            self._recent.setdefault(subnet.role, deque(maxlen=_WINDOW)).append(loss)
        return None

    def state(self) -> dict[str, Any]:
        """JSON, so that a training that is taken up again judges as if it had not been interrupted."""
        return {"phase": self._phase, "recent": {role: list(losses) for role, losses in self._recent.items()}}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Take up a `state`; None, that of a checkpoint without one, changes nothing."""
        if state is not None:
            self._phase = state["phase"]
            self._recent = {role: deque(losses, maxlen=_WINDOW) for role, losses in state["recent"].items()}

    def _limit(self, role: str, phase: Phase) -> tuple[float | None, float | None]:
        if self.factor is None:
            return None, None
        settings = phase.settings
        distilled = 0.0 if settings.distillation == "none" else phase.label_weight + settings.distillation_weight
        guessing = self.guessing * max(1.0, distilled)
        recent = self._recent.get(role, ())
        median = statistics.median(recent) if len(recent) >= _ENOUGH else None
        usual = guessing if median is None else median
        return median, self.factor * max(usual, guessing / 2)


def described(subnet: Subnet, loss: float) -> dict[str, Any]:
    """A subnet and its loss as JSON, which has no word for what is not finite."""
    return {
        "role": subnet.role,
        "key": subnet.architecture.key,
        "loss": plain_number(loss),
        "architecture": subnet.architecture.to_json(),
    }


def plain_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
