"""Networks and single operators as graphs of torch.nn layers."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from search_spaces.architecture import Architecture
from search_spaces.operators import Operator
from search_spaces.plain.blocks import PLAIN
from search_spaces.space import SearchSpace


def build_operator(operator: Operator) -> fx.GraphModule:
    """One operator with fresh weights; input (N, *operator.input_shape)."""
    module = PLAIN[type(operator)](operator)
    initialize(module)
    return trace(module)


def build_network(space: SearchSpace, architecture: Architecture, *, init: bool = True) -> fx.GraphModule:
    """One network with fresh weights: images (N, in_channels, R, R) to logits (N, num_classes)."""
    root = nn.Sequential()
    for name, operator in space.network(architecture):
        root.add_module(name, PLAIN[type(operator)](operator))
    if init:
        initialize(root)
    return trace(root)


class _TorchLeaves(fx.Tracer):
    """Traces through this project's modules and stops at those of torch.nn."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        return type(module).__module__.startswith("torch.nn") and not isinstance(module, nn.Sequential)


def trace(module: nn.Module) -> fx.GraphModule:
    """`module` as a GraphModule of torch.nn leaves, sharing its parameters."""
    graph = _TorchLeaves().trace(module)
    return fx.GraphModule(module, graph, class_name="Network")


def initialize(module: nn.Module) -> None:
    """He initialisation by fan-out for convolutions, ones and zeros for norms, N(0, 0.01) for linear layers; blocks
    with an `initialize_weights` draw their own.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, (2.0 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear) and layer.weight is not None:
            nn.init.normal_(layer.weight, 0.0, 0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in module.modules():
        if callable(draw := getattr(block, "initialize_weights", None)):
            draw()


def clone_network(network: fx.GraphModule) -> fx.GraphModule:
    """An independent copy."""
    with torch.no_grad():
        return copy.deepcopy(network)
