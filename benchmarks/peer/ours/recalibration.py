"""This project's BN recalibration, beside a plain pass of the same network over the same images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from benchmarks.peer.architectures import space_of
from benchmarks.peer.clock import timed
from benchmarks.peer.inputs import image_batches
from search_spaces import Architecture
from search_spaces.supernet import build_supernet
from trainers.evaluation.recalibration import pieces, recalibrate
from trainers.processes.allocator import keep_freed_memory


class Recalibration:
    """Extracted subnets in the layout that evaluation gives them."""

    def __init__(self, *, resolution: int) -> None:
        keep_freed_memory()  # as evaluating records does
        self.supernet = build_supernet(space_of([resolution]), seed=0)

    def recalibrate(self, subnet: Mapping[str, Any], num_images: int, batch: int) -> dict[str, Any]:
        network, batches = self._prepared(subnet, num_images, batch)
        seconds, _ = timed(lambda: recalibrate(network, batches))
        return {"seconds": seconds}

    def forward(self, subnet: Mapping[str, Any], num_images: int, batch: int) -> dict[str, Any]:
        """The same images through the same network, in eval mode."""
        return _forward(*self._prepared(subnet, num_images, batch))

    def forward_in_pieces(self, subnet: Mapping[str, Any], num_images: int, batch: int) -> dict[str, Any]:
        """The same in the smaller pieces in which this project recalibrates and evaluates."""
        network, batches = self._prepared(subnet, num_images, batch)
        return _forward(network, [piece for images in batches for piece in pieces(images)])

    def _prepared(self, subnet: Mapping[str, Any], num_images: int, batch: int) -> tuple[fx.GraphModule, list[Tensor]]:
        architecture = Architecture(subnet)
        network = self.supernet.extract(architecture).eval().to(memory_format=torch.channels_last)
        return network, image_batches(num_images, batch, architecture.resolution)


def _forward(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Any]:
    def run() -> None:
        with torch.inference_mode():
            for images in batches:
                network(images)

    return {"seconds": timed(run)[0]}


load = Recalibration
