"""Networks that every writer of a graph must know, and calls that it must name: of ONNX and of TFLite alike."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Branches(nn.Module):
    """Sums and products of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.gate = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)  # used twice: the norm must not be folded into it
        return operator.add(operator.mul(self.norm(y), self.gate(y)), x)


class Tokens(nn.Module):
    """Attention with all that stands around it."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(63, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2) + self.places
        heads = x.unflatten(-1, (-1, 2)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(heads, heads + heads, heads)
        mixed = mixed.transpose(1, 2).flatten(2)
        linear = (heads @ (heads.transpose(-2, -1) @ heads)) / (heads.sum(dim=-2, keepdim=True) * 2 + 9.5)
        mixed = mixed + linear.transpose(1, 2).flatten(2)
        return mixed[:, 3] * mixed.mean(dim=1)


class Shared(nn.Module):
    """A convolution used with its norm and without."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x)


#: (a function of one tensor, what the error names)
UNKNOWN_CALLS: list[tuple[Callable[[Tensor], Tensor], str]] = [
    (lambda x: x.unflatten(0, (1, -1)), "unflatten"),
    (lambda x: x.flatten(0, 1), "flatten"),
    (lambda x: x[0], "getitem|\\[0\\]"),
    (lambda x: x[:, ::2], "slice"),
    (lambda x: x.softmax(dim=1), "softmax"),
    (lambda x: x.unsqueeze(0), "unsqueeze"),
    (lambda x: x.topk(2, dim=-1)[1], "topk"),
    (lambda x: x.expand(-1, x.size(1), 5), "size"),
    (lambda x: torch.cat([x, x]), "cat"),
    (lambda x: x.mean(), "mean"),
    (lambda x: x.sum(dim=1), "sum"),
    (lambda x: nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True), "attention with a mask"),
]
