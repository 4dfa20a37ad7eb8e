"""A network with weights of some size, and images, for forms that are cheap to write."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx, nn

from ofa.export.forms.base import Source

SHAPE = (3, 12, 12)


class Residual(nn.Module):
    """Convolutions with the activations of the families, and a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.mix = nn.Conv2d(3, 8, 3, 2, 1), nn.Hardswish(), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.second, self.pool, self.flat = nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(self.stem(x))
        return self.head(self.flat(self.pool(self.second(y + self.mix(y)))))


@pytest.fixture
def source() -> Source:
    """With 32 images to calibrate with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = fx.symbolic_trace(Residual()).eval()
        images = torch.randn(32, *SHAPE) * torch.linspace(0.3, 2, 32).view(-1, 1, 1, 1)
    return Source(network, SHAPE, images)
