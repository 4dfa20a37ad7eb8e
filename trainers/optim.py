"""Optimiser, learning rate and weight average of one phase, built from timm's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from search_spaces.common.errors import UserError
from trainers.phases import Phase
from trainers.settings.train import TrainSettings

#: layers that draw random numbers, and what they call their rate
_RANDOM_LAYERS: dict[type[nn.Module], str] = {nn.Dropout: "p", DropPath: "drop_prob"}


def make_optimizer(supernet: nn.Module, phase: Phase, settings: TrainSettings) -> torch.optim.Optimizer:
    """The phase's optimiser: weight decay on everything but biases and BN parameters."""
    optimizer = create_optimizer_v2(
        supernet,
        opt=settings.optimizer.name,
        lr=phase.lr,
        weight_decay=phase.weight_decay,
        momentum=settings.optimizer.momentum,
        layer_decay=settings.optimizer.layer_decay,
        fused=True,
    )
    if isinstance(optimizer, torch.optim.SGD):
        # torch's fused step cannot begin with some weights and take in others (of larger subnets) later; a momentum
        # that starts at zero is the same
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def make_scheduler(optimizer: torch.optim.Optimizer, phase: Phase, settings: TrainSettings) -> CosineLRScheduler:
    """The learning rate as a function of the step in the phase; it keeps no state, so resuming needs none."""
    schedule = settings.schedule
    return CosineLRScheduler(
        optimizer,
        t_initial=max(2, phase.schedule_steps - phase.warmup_steps),
        lr_min=phase.lr * schedule.min_lr,
        warmup_t=phase.warmup_steps,
        warmup_lr_init=phase.lr * schedule.warmup_lr,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def set_learning_rate(scheduler: CosineLRScheduler, phase: Phase, step: int) -> float:
    """Set and return the rate of `step`: the schedule at the middle of the step, so that no step has rate 0."""
    scheduler.step_update(step - phase.schedule_start + 0.5)
    group = scheduler.optimizer.param_groups[0]
    return float(group["lr"] / group.get("lr_scale", 1.0))


def make_ema(supernet: nn.Module, settings: TrainSettings) -> ModelEmaV3 | None:
    """An average of the weights over the phase; it forgets its beginning faster than `ema_decay` alone would."""
    if settings.ema_decay is None:
        return None
    return ModelEmaV3(supernet, decay=settings.ema_decay, use_warmup=True, exclude_buffers=True)


class AverageUpdate:
    """`ema.update(model)` of a float32 average without buffers, over lists that are made once instead of every step."""

    def __init__(self, ema: ModelEmaV3, model: nn.Module) -> None:
        self.ema = ema
        self.parameters: tuple[list[Tensor], list[Tensor]] = list(ema.module.parameters()), list(model.parameters())
        self.buffers: tuple[list[Tensor], list[Tensor]] = list(ema.module.buffers()), list(model.buffers())

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        """Take in the weights as they are after `step` updates, and the buffers as they are."""
        averages, weights = self.parameters
        torch._foreach_lerp_(averages, weights, weight=1.0 - self.ema.get_decay(step))
        kept, buffers = self.buffers
        if buffers:
            torch._foreach_copy_(kept, buffers)


def set_regularisation(supernet: nn.Module, settings: TrainSettings) -> None:
    """Set the dropout rate of the supernet, and stochastic depth on its residual branches.

    Huang et al., https://arxiv.org/abs/1603.09382, with their linear rule: of L residual branches, counted along the
    largest subnet, branch l is dropped at l / L of the rate. A subnet that leaves blocks out keeps the rates of the
    others. Raises `UserError` if no layer or branch takes a rate above 0.
    """
    if settings.dropout is not None:
        layers = [module for module in supernet.modules() if isinstance(module, nn.Dropout)]
        _check_any(layers, "dropout", settings.dropout, "dropout layer")
        for layer in layers:
            layer.p = settings.dropout
    if settings.drop_path is not None:
        blocks = [module for module in supernet.modules() if hasattr(module, "drop_path")]
        _check_any(blocks, "drop_path", settings.drop_path, "residual branch")
        for number, block in enumerate(blocks, start=1):
            rate = settings.drop_path * number / len(blocks)
            block.drop_path = DropPath(rate) if rate > 0 else nn.Identity()


def _check_any(found: Sequence[nn.Module], key: str, rate: float, what: str) -> None:
    if rate > 0 and not found:
        raise UserError(f"this space has no {what}", key=f"train.{key}", value=rate, hint="Leave it out")


def has_random_layers(supernet: nn.Module) -> bool:
    """Whether a forward pass in train mode draws random numbers."""
    return any(
        isinstance(module, kind) and getattr(module, attribute) > 0
        for module in supernet.modules()
        for kind, attribute in _RANDOM_LAYERS.items()
    )


def freeze_running_statistics(network: nn.Module) -> None:
    """Let BN layers normalise by batch without touching their running statistics.

    Those of a supernet mean nothing: every subnet has its own, computed exactly when it is extracted and
    recalibrated. Left alone they also cannot make the result depend on the number of processes.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
