"""Gradients of the largest subnet and of the others, kept apart and projected where they point against each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GradientsApart:
    """Two sums of gradients over the same weights. Which one `.grad` is at the moment, `exchange` changes."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.others: list[Tensor | None] = [None] * len(parameters)

    def exchange(self) -> None:
        for number, parameter in enumerate(self.parameters):
            parameter.grad, self.others[number] = self.others[number], parameter.grad

    def add_projected(self) -> None:
        """Leave in `.grad` its sum with the other gradients, without their part along a `.grad` they conflict with.

        Gong et al., NASViT (https://openreview.net/forum?id=Qaw16njk6L): where the inner product with the gradient of
        the sampled subnets is negative, the gradient of the largest network is projected onto the plane orthogonal to
        it, so the sampled subnets come first. All weights are taken as one vector.
        """
        sampled = [parameter.grad for parameter in self.parameters]
        pairs = [
            (g, other) for g, other in zip(sampled, self.others, strict=True) if g is not None and other is not None
        ]
        dot = sum((torch.sum(g * other) for g, other in pairs), torch.zeros(()))
        norm = sum((torch.sum(g * g) for g in sampled if g is not None), torch.zeros(()))
        along = torch.clamp(dot / norm.clamp(min=torch.finfo(torch.float32).tiny), max=0.0)
        for parameter, other in zip(self.parameters, self.others, strict=True):
            if parameter.grad is None:
                parameter.grad = other
            else:
                kept = parameter.grad * (1.0 - along)
                parameter.grad = kept if other is None else kept.add_(other)
        self.others = [None] * len(self.parameters)
