"""Where gradients of prefixes go.

Within `gradients_in_place()` the gradient of a prefix is added to the same prefix of the weight's `.grad`. Autograd by
itself makes a gradient as large as the whole weight, nearly all zeros, for every use of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_in_place: ContextVar[bool] = ContextVar("gradients_in_place", default=False)


@contextmanager
def gradients_in_place() -> Iterator[None]:
    """Let networks that run in here add the gradients of their convolutions to `.grad` directly, in `backward()`.

    The sums are the same. But `torch.autograd.grad` and hooks on those weights do not see them, so a training loop asks
    for it.
    """
    token = _in_place.set(True)
    try:
        yield
    finally:
        _in_place.reset(token)


def adds_in_place() -> bool:
    return _in_place.get()


def gradient_target(parameter: Tensor, *, in_place: bool) -> tuple[Tensor, Tensor | None]:
    """Where the gradient of a part of `parameter` is added, and what autograd is then given for the whole."""
    if in_place and parameter.is_leaf:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        return parameter.grad, None
    whole = torch.zeros_like(parameter)
    return whole, whole


def trains_in_float32(x: Tensor, weight: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and (x.requires_grad or weight.requires_grad)
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled(x.device.type)
    )
