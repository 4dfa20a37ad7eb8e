"""One step of torchvision's MobileNetV3-Large: how fast this machine trains an ordinary network of that kind."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision

from benchmarks.peer.clock import timed
from benchmarks.peer.inputs import training_batch


class Yardstick:
    """Forward, cross entropy, backward and SGD, in the layout torchvision gives it."""

    def __init__(self, *, resolution: int, batch: int) -> None:
        torch.manual_seed(0)
        self.images, self.labels = training_batch(batch, resolution)
        self.network = torchvision.models.mobilenet_v3_large(weights=None).train()
        self.optimizer = torch.optim.SGD(self.network.parameters(), 7.5e-3, momentum=0.9, nesterov=True)

    def step(self) -> dict[str, float]:
        return {"seconds": timed(self._step)[0]}

    def _step(self) -> None:
        self.optimizer.zero_grad()
        F.cross_entropy(self.network(self.images), self.labels).backward()
        self.optimizer.step()


load = Yardstick
