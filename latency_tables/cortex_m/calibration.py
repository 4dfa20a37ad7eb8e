"""How the values of a network are quantised: from what they are on some images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from latency_tables.cortex_m.quantization import Affine
from latency_tables.folding import fold_batch_norm


def calibrate(module: fx.GraphModule, images: Tensor) -> dict[str, Affine]:
    """The range of every value of the network as deployed, by the name of its fx node, for `lower`.

    `images` is (N, C, H, W) or (N, C).
    """
    ranges = _Ranges(fold_batch_norm(module))
    with torch.no_grad():
        ranges.run(images)
    return {name: Affine.of_range(low, high) for name, (low, high) in ranges.seen.items()}


class _Ranges(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, tuple[float, float]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.is_floating_point():
            self.seen[n.name] = (float(value.min()), float(value.max()))
        return value
