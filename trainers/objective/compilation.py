"""`train.compile`: torch.compile of losses and of the arithmetic of augmentation, and of nothing else.

Both are chains of cheap elementwise operations on tensors of one shape, which compiled are one pass over memory. The
network is left as it is: every subnet has other shapes, and each would be compiled anew, without end (pytorch/pytorch
issues 120958 and 140229); declared dynamic, shapes of prefixes lose what makes compiled code fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from search_spaces.common.errors import UserError
from trainers.objective.losses import alpha_divergence_loss, distillation_loss, label_loss


class Compiled:
    """`function`, compiled when it is first called and again for every new combination of shapes and constants.

    There are few of these in a training; beyond eight torch goes on with the function as it is. Raises `UserError`
    where this machine cannot compile. The compiler's caches on disk are switched off for the whole process: what lies
    there is pickled, and this project unpickles nothing. Compiling anew takes seconds per start.
    """

    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        torch.compiler.config.force_disable_caches = True
        warnings.filterwarnings("ignore", message=".*force disabled by torch.compiler.config")
        self.function = torch.compile(function, dynamic=False)

    def __call__(self, *arguments: Any) -> torch.Tensor:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self.function(*arguments)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(
                f"torch.compile failed: {reason}",
                key="train.compile",
                value=True,
                hint="Install a C++ compiler (g++), or set train.compile to false",
            ) from None


@dataclass(frozen=True)
class Losses:
    """The losses of `trainers.objective.losses` as a step calls them: as they are, or compiled."""

    label: Callable[..., torch.Tensor] = label_loss
    distillation: Callable[..., torch.Tensor] = distillation_loss
    alpha_divergence: Callable[..., torch.Tensor] = alpha_divergence_loss

    @classmethod
    def compiled(cls) -> Losses:
        return cls(Compiled(label_loss), Compiled(distillation_loss), Compiled(alpha_divergence_loss))
