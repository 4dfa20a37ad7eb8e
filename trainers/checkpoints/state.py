"""What changes while a run trains, and its way into a checkpoint and back, bit by bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from trainers.checkpoints.store import Checkpoint, check_tensors, read_tensors, write_tensors
from trainers.optim import AverageUpdate, freeze_running_statistics, make_ema, make_optimizer, make_scheduler
from trainers.phases import Phase, Plan
from trainers.settings.train import TrainSettings

if TYPE_CHECKING:
    from search_spaces.supernet import Supernet


class TrainingState:
    """Supernet, optimiser, weight average and teacher. All else in a run is a function of its config and the step.

    A phase is a training run of its own that starts from the result of the one before: the averaged weights if
    there is an average, a new optimiser, a new schedule (unless it `continues` that one). `begin_phase` makes that
    step; a checkpoint holds the state before it.
    """

    optimizer: torch.optim.Optimizer
    scheduler: CosineLRScheduler
    ema: ModelEmaV3 | None
    teacher: nn.Module | None

    def __init__(
        self,
        supernet: Supernet,
        plan: Plan,
        settings: TrainSettings,
        *,
        teacher_file: Path,
        first_teacher: nn.Module | None = None,
    ) -> None:
        freeze_running_statistics(supernet)
        self.supernet, self.plan, self.settings, self.teacher_file = supernet.train(), plan, settings, teacher_file
        self.teacher, self.first_teacher = None, first_teacher
        self.parameters = list(supernet.parameters())
        self._prepare(plan.phases[0])

    @property
    def result(self) -> Supernet:
        """The supernet that training has so far: its average if there is one."""
        return self.supernet if self.ema is None else self.ema.module

    def begin_phase(self, phase: Phase, *, writes: bool) -> None:
        """Go over into `phase`. Where `writes`, the teacher is saved: the network that training came with, or else the
        first phase's largest subnet.
        """
        if phase.index == 0:
            if self.first_teacher is not None and self.plan.needs_teacher() and writes:
                write_tensors(self.teacher_file, self.first_teacher.state_dict())
            return
        if phase.index == 1 and self.first_teacher is None and self.plan.needs_teacher() and writes:
            write_tensors(self.teacher_file, self._teacher_network().state_dict())
        if phase.settings.continues:
            return
        if self.ema is not None:
            self.supernet.load_state_dict(self.ema.module.state_dict())
        if phase.settings.sort_channels:
            self.supernet.sort_channels(self.plan.phases[phase.index - 1].space)
        self._prepare(phase)

    def update(self, phase: Phase, step: int) -> Tensor:
        """Apply the gradients of `step` and forget them; their norm before clipping, on its device."""
        grad_norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None], foreach=True)
        if self.settings.clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(self.parameters, self.settings.clip_grad_norm, grad_norm, foreach=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self._average is not None:
            self._average(step - phase.schedule_start)
        return grad_norm

    def is_finite(self) -> bool:
        """Whether every weight is a number: never keep a checkpoint that is not."""
        norms = torch._foreach_norm([parameter.detach() for parameter in self.parameters])
        return bool(torch.isfinite(torch.stack(norms)).all())

    def load_teacher(self, phase: Phase) -> None:
        """Read the teacher that `phase` learns from, if any. It normalises by batch, as its students do."""
        self.teacher = None
        if phase.settings.distillation != "teacher":
            return
        network = self._teacher_network()
        tensors = read_tensors(self.teacher_file, "teacher")
        check_tensors(tensors, network.state_dict(), file=self.teacher_file)
        network.load_state_dict(tensors)
        freeze_running_statistics(network)
        network.train().requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        self.teacher = network.to(memory_format=torch.channels_last) if self.settings.channels_last else network

    def teacher_digest(self) -> str | None:
        return None if self.teacher is None else file_digest(self.teacher_file)

    # -- checkpoints

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the state under one name each."""
        named = {f"model.{name}": tensor for name, tensor in self.supernet.state_dict().items()}
        if self.ema is not None:
            named |= {f"ema.{name}": tensor for name, tensor in self.ema.module.state_dict().items()}
        for name, parameter in self.supernet.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if value is not None:
                    assert isinstance(value, Tensor), f"optimiser state {key!r} is not a tensor"
                    named[f"optimizer.{key}.{name}"] = value
        return named

    def restore(self, checkpoint: Checkpoint, phase: Phase) -> None:
        """Become the state of `checkpoint`, taken in `phase`. Raises `UserError` if it is of another network."""
        self._prepare(phase)
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
        for name, tensor in checkpoint.tensors.items():
            part, _, rest = name.partition(".")
            parts.get(part, {})[rest] = tensor
        check_tensors(parts["model"], self.supernet.state_dict(), file=checkpoint.path)
        self.supernet.load_state_dict(parts["model"])
        if self.ema is not None:
            check_tensors(parts["ema"], self.ema.module.state_dict(), file=checkpoint.path)
            self.ema.module.load_state_dict(parts["ema"])
        parameters = dict(self.supernet.named_parameters())
        for name, tensor in parts["optimizer"].items():
            key, _, parameter_name = name.partition(".")
            parameter = parameters.get(parameter_name)
            if parameter is None:
                raise UserError("optimiser state of an unknown weight", file=checkpoint.path, key=name)
            if tensor.shape == parameter.shape:  # same device and memory layout as the weight
                tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            self.optimizer.state[parameter][key] = tensor

    def info(self) -> dict[str, Any]:
        """What else a checkpoint says about this state."""
        return {"teacher_sha256": self.teacher_digest()}

    def _prepare(self, phase: Phase) -> None:
        self.optimizer = make_optimizer(self.supernet, phase, self.settings)
        self.scheduler = make_scheduler(self.optimizer, phase, self.settings)
        self.ema = make_ema(self.supernet, self.settings)
        self._average = None if self.ema is None else AverageUpdate(self.ema, self.supernet)

    def _teacher_network(self) -> nn.Module:
        if self.first_teacher is not None:
            return copy.deepcopy(self.first_teacher)
        first = self.plan.phases[0].space
        (largest,) = first.decode(first.largest())
        return self.result.extract(largest)
