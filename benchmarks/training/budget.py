"""What a training costs in MACs before it begins, and how long a recipe may train for the MACs of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.training.setting import Setting
from search_spaces import Architecture, SearchSpace
from trainers.phases import Phase, Plan, make_plan
from trainers.sampler import Subnet
from trainers.settings import TrainSettings

#: Training MACs of one core in a second, measured on networks of 1 to 8 M MACs; for estimates of time only.
MACS_PER_SECOND = 8.5e9


def plan_of(setting: Setting, space: SearchSpace, train: Mapping[str, Any], *, seed: int = 0) -> Plan:
    return make_plan(space, TrainSettings(**train), seed=seed, steps_per_epoch=setting.steps_per_epoch)


def planned_macs(plan: Plan, batch_size: int) -> float:
    """MACs of all passes of a plan: forward, backward, teacher."""
    return sum(_macs_of_step(plan, step) for step in range(plan.num_steps)) * batch_size


def epochs_for(
    setting: Setting, space: SearchSpace, train: Mapping[str, Any], macs: float, *, tolerance: float = 1e-3
) -> float:
    """Epochs, in whole steps, after which `train` (a section without epochs) has spent `macs`."""
    batch_size, steps = int(train["batch_size"]), round(setting.epochs * setting.steps_per_epoch)
    for _ in range(10):
        epochs = steps / setting.steps_per_epoch
        found = planned_macs(plan_of(setting, space, {**train, "epochs": epochs}), batch_size)
        better = max(1, round(steps * macs / found))
        if better == steps or abs(found / macs - 1) < tolerance:
            break
        steps = better
    return steps / setting.steps_per_epoch


def finetune_macs(setting: Setting, space: SearchSpace) -> float:
    """MACs of training on the one network of `space`, beside the largest one of its supernet as a teacher."""
    images = round(setting.epochs * setting.finetune_share * setting.steps_per_epoch) * int(setting.train["batch_size"])
    teacher = setting.build_space().cost("macs").maximum()[0] if setting.finetune_distillation == "teacher" else 0.0
    return images * (3 * space.cost("macs").maximum()[0] + teacher)


def _macs_of_step(plan: Plan, step: int) -> float:
    """Per image. A backward pass costs two forward passes; what subnets share at their start is computed once."""
    phase = plan.phase_at(step)
    subnets = phase.sampler.subnets(step)
    networks = [phase.space.network(subnet.architecture) for subnet in subnets]
    shared = 0
    while all(len(network) > shared and network[shared] == networks[0][shared] for network in networks):
        shared += 1
    macs = sum(float(operator.macs()) for network in networks for _, operator in network[shared:])
    macs += sum(float(operator.macs()) for _, operator in networks[0][:shared])
    return 3 * macs + (_teacher_macs(plan, phase, subnets) if phase.settings.distillation == "teacher" else 0.0)


def _teacher_macs(plan: Plan, phase: Phase, subnets: tuple[Subnet, ...]) -> float:
    first = plan.phases[0].space
    (largest,) = first.decode(first.largest())
    resolutions = {subnet.architecture.resolution for subnet in subnets}
    total = 0.0
    for resolution in resolutions:
        teacher = Architecture({**largest.values, "resolution": resolution})
        total += sum(float(operator.macs()) for _, operator in phase.space.network(teacher))
    return total
