"""One training step: a backward per subnet and micro-batch, one sum of the gradients over all processes, one update."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from search_spaces import Architecture
from search_spaces.elastic.functional import gradients_in_place
from search_spaces.supernet import Supernet
from trainers.data.resize import resize_batch
from trainers.objective.compilation import Losses
from trainers.objective.conflicts import GradientsApart
from trainers.objective.mixing import Mixing
from trainers.optim import has_random_layers
from trainers.phases import Phase
from trainers.processes.distributed import World
from trainers.sampling.attentive import choose_attentively
from trainers.sampling.sampler import Subnet
from trainers.sampling.sharing import Shared, shared_starts


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
    losses: Losses = field(default_factory=Losses)
    teacher_resolution: int | None = None
    """The only one that the teacher takes, if it does not take all."""

    @contextmanager
    def forward_context(self, device: torch.device) -> Iterator[None]:
        enabled = self.autocast is not None
        with gradients_in_place(), torch.autocast(device.type, dtype=self.autocast, enabled=enabled):
            yield


def choose_subnets(
    supernet: Supernet,
    subnets: Sequence[Subnet],
    x_BCHW: Tensor,
    labels_B: Tensor,
    *,
    settings: StepSettings,
    world: World,
) -> Sequence[Subnet]:
    """The subnets that a step trains: those drawn, or which of their rivals attentive sampling prefers."""
    attentive = settings.phase.settings.attentive
    if attentive is None or not any(subnet.rivals for subnet in subnets):
        return subnets
    return choose_attentively(
        supernet,
        subnets,
        x_BCHW[: settings.micro_batch],
        labels_B[: settings.micro_batch],
        settings=attentive,
        smoothing=settings.label_smoothing,
        class_weights=settings.class_weights,
        autocast=settings.autocast,
        world=world,
    )


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
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Leave in `.grad` the gradient of the sum over subnets of their mean loss on the global batch; return the losses.

    `x_BCHW` is this process's share. BN statistics are those of a micro-batch, so the result does not depend on
    the number of processes (up to the rounding of sums). Distillation sees the same images: a teacher at the
    student's resolution (at its own if it takes no other), the largest subnet of the step at its own. `weights`
    multiply the gradients of the subnets.
    """
    losses = torch.zeros(len(subnets), device=x_BCHW.device)
    parameters = list(supernet.parameters())
    apart = GradientsApart(parameters) if settings.phase.settings.conflicts == "project" else None
    first_group = world.rank * (len(x_BCHW) // settings.micro_batch)
    limit = shareable_operators(supernet) if settings.random_layers else None
    shared = shared_starts(supernet.space, subnets, settings.phase.settings, limit)
    groups = zip(x_BCHW.split(settings.micro_batch), labels_B.split(settings.micro_batch), strict=True)
    for group, (images, labels) in enumerate(groups, start=first_group):
        if settings.mixing is not None:  # before anything sees the images: teachers learn of the same mixture
            images, labels = settings.mixing(images, labels, step=step, group=group)
        views = _Views(images, channels_last=settings.channels_last)
        soft = _SoftTargets(teacher, views, settings) if teacher is not None else None
        starts = _SharedStarts(supernet, subnets, shared, views, settings)
        largest_logits: Tensor | None = None
        for number, subnet in enumerate(subnets):
            if settings.random_layers:
                seed_device(x_BCHW.device, _mix(settings.seed, step, group, number))
            resolution = subnet.architecture.resolution
            with settings.forward_context(x_BCHW.device):
                start, first = starts.of(number, resolution)
                logits = supernet(start, subnet.architecture, first=first)
            target = soft.at(resolution) if soft is not None else largest_logits
            loss = _loss(logits, labels, target, settings) / settings.batch_size
            losses[number] += loss.detach()
            loss = loss if weights is None else weights[number] * loss
            if apart is not None and subnet.role == "largest":
                apart.exchange()
                loss.backward()
                apart.exchange()
            else:
                loss.backward()
            if settings.phase.settings.distillation == "in_place" and subnet.role == "largest":
                largest_logits = logits.detach()
        starts.backward()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    others = [] if apart is None else [gradient for gradient in apart.others if gradient is not None]
    world.sum_([*gradients, *others, losses])
    if apart is not None:
        apart.add_projected()
    return losses


def _loss(logits: Tensor, labels: Tensor, target: Tensor | None, settings: StepSettings) -> Tensor:
    if target is None:
        return settings.losses.label(logits, labels, settings.label_smoothing, settings.class_weights)
    phase = settings.phase
    if phase.settings.divergence == "alpha":
        distance = settings.losses.alpha_divergence(logits, target, phase.settings.alpha)
    else:
        distance = settings.losses.distillation(logits, target)
    loss = phase.settings.distillation_weight * distance
    if phase.label_weight > 0:
        label = settings.losses.label(logits, labels, settings.label_smoothing, settings.class_weights)
        loss = loss + phase.label_weight * label
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

    def __init__(
        self,
        supernet: Supernet,
        subnets: Sequence[Subnet],
        shared_starts: Sequence[Shared],
        views: _Views,
        settings: StepSettings,
    ) -> None:
        self.views = views
        self.ends: list[tuple[Tensor, Tensor]] = []
        self.starts: dict[int, tuple[Tensor, int]] = {}
        for shared in shared_starts:
            architecture = subnets[shared.members[0]].architecture
            view = views.at(architecture.resolution)
            with settings.forward_context(view.device):
                end = supernet(view, architecture, last=shared.num)
            start = end.detach().requires_grad_()
            self.ends.append((end, start))
            self.starts |= dict.fromkeys(shared.members, (start, shared.num))

    def of(self, number: int, resolution: int) -> tuple[Tensor, int]:
        """What subnet `number` of the step starts with, and its first operator after that."""
        return self.starts.get(number) or (self.views.at(resolution), 0)

    def backward(self) -> None:
        for end, start in self.ends:
            end.backward(start.grad)


def shareable_operators(supernet: Supernet) -> Callable[[Architecture], int]:
    """How many operators of a network stand before the first that draws random numbers: those, every subnet draws for
    itself.
    """

    random = {name for name, slot in supernet.slots.items() if has_random_layers(slot)}

    def limit(architecture: Architecture) -> int:
        names = [name for name, _ in supernet.space.network(architecture)]
        return next((i for i, name in enumerate(names) if name in random), len(names))

    return limit


class _SoftTargets:
    """The teacher's logits on a micro-batch, computed once per resolution."""

    def __init__(self, teacher: nn.Module, views: _Views, settings: StepSettings) -> None:
        self.teacher, self.views, self.settings = teacher, views, settings
        self.cache: dict[int, Tensor] = {}

    def at(self, resolution: int) -> Tensor:
        resolution = self.settings.teacher_resolution or resolution
        if resolution not in self.cache:
            view, dtype = self.views.at(resolution), self.settings.autocast
            with torch.no_grad(), torch.autocast(view.device.type, dtype=dtype, enabled=dtype is not None):
                self.cache[resolution] = self.teacher(view)
        return self.cache[resolution]


def seed_device(device: torch.device, seed: int) -> None:
    """Seed the generator that layers on `device` draw from, and no other: `torch.manual_seed` seeds those of every kind
    of device, and for each that is not in use keeps a formatted stack trace, which takes longer than a small layer.
    """
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def _mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6364136223846793005 + number + 1442695040888963407) % 2**63
    return mixed
