"""One training step as `ofa train` runs it, and the same step on extracted static networks."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peer.architectures import space_of
from benchmarks.peer.clock import timed
from benchmarks.peer.inputs import training_batch
from search_spaces import Architecture
from search_spaces.supernet import Supernet, build_supernet
from trainers.checkpoints.state import TrainingState
from trainers.objective.losses import distillation_loss, label_loss
from trainers.optim import freeze_running_statistics, has_random_layers, set_learning_rate, set_regularisation
from trainers.phases import Plan, make_plan
from trainers.processes.allocator import keep_freed_memory
from trainers.processes.distributed import World, autocast_dtype
from trainers.sampling.sampler import Subnet
from trainers.settings.train import TrainSettings
from trainers.step import StepSettings, accumulate_gradients

_ALONE = World(rank=0, size=1, device=torch.device("cpu"))


class Training:
    """`with_teacher`: the last phase of progressive shrinking; else the labels alone."""

    def __init__(self, *, resolution: int, batch: int, with_teacher: bool = True) -> None:
        keep_freed_memory()  # as training does
        self.images, self.labels = training_batch(batch, resolution)
        settings = _settings(batch, with_teacher)
        space = space_of([resolution])
        plan = make_plan(space, settings, seed=0, steps_per_epoch=1000)
        supernet = build_supernet(space, seed=0)
        set_regularisation(supernet, settings)
        if settings.channels_last:
            supernet.to(memory_format=torch.channels_last)
        self.state = _state_in_last_phase(supernet, plan, settings)
        self.phase = plan.phases[-1]
        self.settings = StepSettings(
            phase=self.phase,
            batch_size=settings.batch_size,
            micro_batch=settings.group_size,
            label_smoothing=settings.label_smoothing,
            channels_last=settings.channels_last,
            autocast=autocast_dtype(settings.amp, _ALONE.device),
            random_layers=has_random_layers(supernet),
            seed=0,
        )
        self.number = self.phase.first_step

    def step(self, subnets: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """One update of the supernet from the gradients of all `subnets`."""
        chosen = _subnets(subnets)
        seconds, losses = timed(lambda: self._step(chosen))
        return {"seconds": seconds, "loss": float(losses.mean())}

    def static_step(self, subnets: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The same on extracted networks: what the step would cost if nothing were elastic.

        The update is that of the supernet's weights too (with gradients of zero), not of the four networks' own.
        """
        networks = self._extracted(subnets)
        for parameter in self.state.parameters:
            parameter.grad = torch.zeros_like(parameter)

        def run() -> Tensor:
            set_learning_rate(self.state.scheduler, self.phase, self.number)
            losses = self._static_gradients(networks)
            self.state.update(self.phase, self.number)
            self.number += 1
            return losses

        seconds, losses = timed(run)
        return {"seconds": seconds, "loss": float(losses.mean())}

    def elastic_gradients(self, subnets: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Forward and backward of every subnet, without an update."""
        chosen = _subnets(subnets)
        self.state.supernet.zero_grad(set_to_none=True)
        seconds, losses = timed(lambda: self._elastic_gradients(chosen))
        return {"seconds": seconds, "count": len(chosen), "loss": float(losses.mean())}

    def static_gradients(self, subnets: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The same on extracted networks."""
        networks = self._extracted(subnets)
        seconds, losses = timed(lambda: self._static_gradients(networks))
        return {"seconds": seconds, "count": len(networks), "loss": float(losses.mean())}

    def _step(self, subnets: Sequence[Subnet]) -> Tensor:
        set_learning_rate(self.state.scheduler, self.phase, self.number)
        losses = self._elastic_gradients(subnets)
        self.state.update(self.phase, self.number)
        self.number += 1
        return losses

    def _elastic_gradients(self, subnets: Sequence[Subnet]) -> Tensor:
        return accumulate_gradients(
            self.state.supernet,
            self.state.teacher,
            subnets,
            self.images,
            self.labels,
            step=self.number,
            settings=self.settings,
            world=_ALONE,
        )

    def _static_gradients(self, networks: Sequence[nn.Module]) -> Tensor:
        """Every network's loss and backward on the batch, as plainly as it can be written."""
        images, smoothing = self.images, self.settings.label_smoothing
        if self.settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        target = None
        if self.state.teacher is not None:
            with torch.no_grad():
                target = self.state.teacher(images)
        losses = torch.zeros(len(networks))
        for number, network in enumerate(networks):
            logits = network(images)
            loss = label_loss(logits, self.labels, smoothing)
            if target is not None:
                loss = loss + distillation_loss(logits, target)
            loss = loss / len(images)
            loss.backward()
            losses[number] = loss.detach()
        return losses

    def _extracted(self, subnets: Sequence[Mapping[str, Any]]) -> list[nn.Module]:
        networks: list[nn.Module] = []
        for subnet in subnets:
            network = self.state.supernet.extract(Architecture(subnet)).train()
            freeze_running_statistics(network)
            networks.append(network.to(memory_format=torch.channels_last) if self.settings.channels_last else network)
        return networks


def _settings(batch: int, with_teacher: bool) -> TrainSettings:
    last = {"name": "subnets", "epochs": 1, "sampling": "random", "num_subnets": 4, "share_resolution": True}
    return TrainSettings.model_validate(
        {
            "phases": [
                {"name": "largest", "epochs": 1, "sampling": "largest"},
                {**last, "distillation": "teacher" if with_teacher else "none"},
            ],
            "batch_size": batch,
            "optimizer": {"lr": 7.5e-3},
        }
    )


def _state_in_last_phase(supernet: Supernet, plan: Plan, settings: TrainSettings) -> TrainingState:
    with tempfile.TemporaryDirectory() as folder:
        state = TrainingState(supernet, plan, settings, teacher_file=Path(folder) / "teacher.safetensors")
        state.begin_phase(plan.phases[-1], writes=True)
        state.load_teacher(plan.phases[-1])
    return state


def _subnets(subnets: Sequence[Mapping[str, Any]]) -> list[Subnet]:
    return [Subnet("random", Architecture(subnet)) for subnet in subnets]


load = Training
