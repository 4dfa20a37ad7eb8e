"""One training step: a backward per subnet and micro-batch, one sum of the gradients over all processes, one update."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from search_spaces import Architecture
from search_spaces.elastic.functional import gradients_in_place
from search_spaces.supernet import Supernet
from trainers.data.resize import resize_batch
from trainers.distributed import World
from trainers.losses import distillation_loss, label_loss
from trainers.mixing import Mixing
from trainers.optim import has_random_layers
from trainers.phases import Phase
from trainers.sampler import Subnet


@dataclass(frozen=True)
class StepSettings:
    """What stays the same over a phase. `random_layers` says whether dropout or drop-path draw random numbers."""

    phase: Phase
    batch_size: int
    micro_batch: int
    label_smoothing: float
    channels_last: bool
    autocast: torch.dtype | None
    random_layers: bool
    seed: int
    mixing: Mixing | None = None
    class_weights: Tensor | None = None

    @contextmanager
    def forward_context(self, device: torch.device) -> Iterator[None]:
        enabled = self.autocast is not None
        with gradients_in_place(), torch.autocast(device.type, dtype=self.autocast, enabled=enabled):
            yield


def accumulate_gradients(
    supernet: Supernet,
    teacher: nn.Module | None,
    subnets: Sequence[Subnet],
    x_BCHW: Tensor,
    labels_B: Tensor,
    *,
    step: int,
    settings: StepSettings,
    world: World,
) -> Tensor:
    """Leave in `.grad` the gradient of the sum over subnets of their mean loss on the global batch; return the losses.

    `x_BCHW` is this process's share. BN statistics are those of a micro-batch, so the result does not depend on
    the number of processes (up to the rounding of sums). Distillation sees the same images: a teacher at the
    student's resolution, the largest subnet of the step at its own.
    """
    losses = torch.zeros(len(subnets), device=x_BCHW.device)
    first_group = world.rank * (len(x_BCHW) // settings.micro_batch)
    groups = zip(x_BCHW.split(settings.micro_batch), labels_B.split(settings.micro_batch), strict=True)
    for group, (images, labels) in enumerate(groups, start=first_group):
        if settings.mixing is not None:  # before anything sees the images: teachers learn of the same mixture
            images, labels = settings.mixing(images, labels, step=step, group=group)
        views = _Views(images, channels_last=settings.channels_last)
        soft = _SoftTargets(teacher, views, settings) if teacher is not None else None
        starts = _SharedStarts(supernet, subnets, views, settings)
        largest_logits: Tensor | None = None
        for number, subnet in enumerate(subnets):
            if settings.random_layers:
                torch.manual_seed(_mix(settings.seed, step, group, number))
            resolution = subnet.architecture.resolution
            with settings.forward_context(x_BCHW.device):
                start, first = starts.of(resolution)
                logits = supernet(start, subnet.architecture, first=first)
            target = soft.at(resolution) if soft is not None else largest_logits
            loss = _loss(logits, labels, target, settings) / settings.batch_size
            loss.backward()
            losses[number] += loss.detach()
            if settings.phase.settings.distillation == "in_place" and subnet.role == "largest":
                largest_logits = logits.detach()
        starts.backward()
    gradients = [parameter.grad for parameter in supernet.parameters() if parameter.grad is not None]
    world.sum_([*gradients, losses])
    return losses


def _loss(logits: Tensor, labels: Tensor, target: Tensor | None, settings: StepSettings) -> Tensor:
    if target is None:
        return label_loss(logits, labels, settings.label_smoothing, settings.class_weights)
    phase = settings.phase
    loss = phase.settings.distillation_weight * distillation_loss(logits, target)
    if phase.label_weight > 0:
        loss = loss + phase.label_weight * label_loss(logits, labels, settings.label_smoothing, settings.class_weights)
    return loss


class _Views:
    """A micro-batch at every resolution that is asked for, resized once."""

    def __init__(self, images: Tensor, *, channels_last: bool) -> None:
        self.images, self.channels_last = images, channels_last
        self.cache: dict[int, Tensor] = {}

    def at(self, resolution: int) -> Tensor:
        if resolution not in self.cache:
            view = resize_batch(self.images, resolution)
            self.cache[resolution] = view.contiguous(memory_format=torch.channels_last) if self.channels_last else view
        return self.cache[resolution]


class _SharedStarts:
    """The first operators that all subnets of one resolution have in common, computed once instead of once for each.

    Every subnet sends its gradient back to where they part; `backward` then takes the sum through the common part.
    """

    def __init__(self, supernet: Supernet, subnets: Sequence[Subnet], views: _Views, settings: StepSettings) -> None:
        self.views = views
        self.shared: dict[int, tuple[Tensor, Tensor, int]] = {}
        by_resolution: dict[int, list[Architecture]] = {}
        for subnet in subnets:
            by_resolution.setdefault(subnet.architecture.resolution, []).append(subnet.architecture)
        for resolution, architectures in by_resolution.items():
            num = supernet.num_shared(architectures) if len(architectures) > 1 else 0
            num = min(num, _num_before_random_layers(supernet, architectures[0])) if settings.random_layers else num
            if num > 0:
                view = views.at(resolution)
                with settings.forward_context(view.device):
                    end = supernet(view, architectures[0], last=num)
                self.shared[resolution] = end, end.detach().requires_grad_(), num

    def of(self, resolution: int) -> tuple[Tensor, int]:
        """What a subnet starts with, and its first operator after that."""
        if resolution not in self.shared:
            return self.views.at(resolution), 0
        _, start, num = self.shared[resolution]
        return start, num

    def backward(self) -> None:
        for end, start, _ in self.shared.values():
            end.backward(start.grad)


def _num_before_random_layers(supernet: Supernet, architecture: Architecture) -> int:
    """Operators before the first that draws random numbers: those, every subnet draws for itself."""
    names = [name for name, _ in supernet.space.network(architecture)]
    return next((i for i, name in enumerate(names) if has_random_layers(supernet.slots[name])), len(names))


class _SoftTargets:
    """The teacher's logits on a micro-batch, computed once per resolution."""

    def __init__(self, teacher: nn.Module, views: _Views, settings: StepSettings) -> None:
        self.teacher, self.views, self.settings = teacher, views, settings
        self.cache: dict[int, Tensor] = {}

    def at(self, resolution: int) -> Tensor:
        if resolution not in self.cache:
            view, dtype = self.views.at(resolution), self.settings.autocast
            with torch.no_grad(), torch.autocast(view.device.type, dtype=dtype, enabled=dtype is not None):
                self.cache[resolution] = self.teacher(view)
        return self.cache[resolution]


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed
