"""The peer's BN recalibration, and the evaluation of subnets with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics
from torch import Tensor, nn

from benchmarks.peer.clock import timed
from benchmarks.peer.inputs import image_batches
from benchmarks.peer.theirs.networks import Subnet, extracted, supernet


class Recalibration:
    """Extracted subnets (recalibrating the supernet with the subnet active is slower)."""

    def __init__(self, *, num_classes: int = 1000) -> None:
        self.network = supernet(num_classes=num_classes)

    def recalibrate(self, subnet: Subnet, num_images: int, batch: int) -> dict[str, Any]:
        network, batches = self._prepared(subnet, num_images, batch)
        seconds, _ = timed(lambda: set_running_statistics(network, [(images, None) for images in batches]))
        return {"seconds": seconds}

    def forward(self, subnet: Subnet, num_images: int, batch: int) -> dict[str, Any]:
        """The same images through the same network, in eval mode."""
        network, batches = self._prepared(subnet, num_images, batch)
        return {"seconds": timed(lambda: _forward(network, batches))[0]}

    def evaluate(self, subnets: Sequence[Subnet], num_calibration: int, num_images: int, batch: int) -> dict[str, Any]:
        """Extract, recalibrate and evaluate one subnet after the other."""
        side = subnets[0]["r"][0]
        calibration = [(images, None) for images in image_batches(num_calibration, batch, side)]
        selection = image_batches(num_images, batch, side)

        def run() -> None:
            for subnet in subnets:
                network = extracted(self.network, subnet)
                set_running_statistics(network, calibration)
                _forward(network, selection)

        return {"seconds": timed(run)[0], "count": len(subnets)}

    def _prepared(self, subnet: Subnet, num_images: int, batch: int) -> tuple[nn.Module, list[Tensor]]:
        return extracted(self.network, subnet), image_batches(num_images, batch, subnet["r"][0])


def _forward(network: nn.Module, batches: Iterable[Tensor]) -> None:
    network.eval()
    with torch.no_grad():
        for images in batches:
            network(images)


load = Recalibration
