"""The numbers of a quantised network in floating point, with gradients.

Weights and values are rounded to what int8 holds and stay real numbers. Gradients pass a rounding as if it were not
there (Y. Bengio et al., Estimating or propagating gradients through stochastic neurons, 2013, arXiv 1308.3432) and stop
where a value is clipped, as in B. Jacob et al. (CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from latency_tables.cortex_m.calibration import is_clamped_at_once
from latency_tables.cortex_m.quantization import HIGH, LOW, Affine


class FakeQuantized(fx.Interpreter):
    """Runs `network`, whose batch norms are folded, with every value quantised as `affine` has it by the node's name.

    The parameters are those of `network`. Layer norm and attention are computed in real numbers between quantised ones.
    """

    def __init__(self, network: fx.GraphModule, affine: Mapping[str, Affine]) -> None:
        super().__init__(network)
        nodes = [node for node in network.graph.nodes if node.name in affine and not is_clamped_at_once(node, network)]
        self.affine = {node: affine[node.name] for node in nodes}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        return rounded(value, self.affine[n]) if n in self.affine else value

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaf = self.fetch_attr(str(target))
        if isinstance(leaf, nn.Conv2d | nn.Linear):
            return functional_call(leaf, {"weight": rounded_weight(leaf.weight)}, args, kwargs)
        return super().call_module(target, args, kwargs)


def rounded(x: Tensor, affine: Affine) -> Tensor:
    """To the nearest real number that `affine` has."""
    return torch.fake_quantize_per_tensor_affine(x, affine.scale, affine.zero, LOW, HIGH)


def rounded_weight(weight: Tensor) -> Tensor:
    """(O, ...): per output, to 255 multiples of its largest magnitude / 127."""
    scale = weight.detach().flatten(1).abs().amax(dim=1) / HIGH
    scale = torch.where(scale > 0, scale, 1.0)
    zeros = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -HIGH, HIGH)
