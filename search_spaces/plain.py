"""Operators as ordinary torch modules: what is measured, trained alone, extracted and exported.

Networks come as `torch.fx.GraphModule` whose leaves are all `torch.nn` modules, so they run, save and export with
nothing of this project. The submodules of a block have the same names here and in its elastic counterpart.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.architecture import Architecture
from search_spaces.operators import Classifier, Conv, MBConv, Operator, PoolConv
from search_spaces.space import SearchSpace

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
}


class PlainConv(nn.Module):
    """Convolution, batch norm, activation."""

    def __init__(self, op: Conv) -> None:
        super().__init__()
        self.conv = convolution(op.in_channels, op.out_channels, op.kernel_size, op.stride)
        self.norm = nn.BatchNorm2d(op.out_channels)
        self.act = ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


class PlainSqueezeExcite(nn.Module):
    """Channel attention: pool, reduce, ReLU, expand, hard sigmoid, scale."""

    def __init__(self, channels: int, se_channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, se_channels, 1)
        self.act = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(se_channels, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))


class PlainMBConv(nn.Module):
    """Inverted residual block."""

    def __init__(self, op: MBConv) -> None:
        super().__init__()
        self.residual = bool(op.residual)
        self.expands, self.excites = bool(op.expansion), op.se_channels > 0
        if self.expands:
            self.expand_conv = convolution(op.in_channels, op.mid_channels, 1)
            self.expand_norm = nn.BatchNorm2d(op.mid_channels)
            self.expand_act = ACTIVATIONS[op.activation]()
        self.depth_conv = convolution(
            op.mid_channels, op.mid_channels, op.kernel_size, op.stride, groups=op.mid_channels
        )
        self.depth_norm = nn.BatchNorm2d(op.mid_channels)
        self.depth_act = ACTIVATIONS[op.activation]()
        if self.excites:
            self.se = PlainSqueezeExcite(op.mid_channels, op.se_channels)
        self.project_conv = convolution(op.mid_channels, op.out_channels, 1)
        self.project_norm = nn.BatchNorm2d(op.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        if self.expands:
            out = self.expand_act(self.expand_norm(self.expand_conv(out)))
        out = self.depth_act(self.depth_norm(self.depth_conv(out)))
        if self.excites:
            out = self.se(out)
        out = self.project_norm(self.project_conv(out))
        return x + out if self.residual else out


class PlainPoolConv(nn.Module):
    """Global average pooling, 1x1 convolution, activation."""

    def __init__(self, op: PoolConv) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = convolution(op.in_channels, op.out_channels, 1)
        self.act = ACTIVATIONS[op.activation]()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv(self.pool(x)))
        return out


class PlainClassifier(nn.Module):
    """Flatten, dropout, linear."""

    def __init__(self, op: Classifier) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(op.dropout)
        self.linear = nn.Linear(op.in_channels, op.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(self.dropout(self.flatten(x)))
        return out


PLAIN: dict[type[Operator], Callable[[Any], nn.Module]] = {
    Conv: PlainConv,
    MBConv: PlainMBConv,
    PoolConv: PlainPoolConv,
    Classifier: PlainClassifier,
}


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)


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
    """He initialisation by fan-out for convolutions, ones and zeros for norms, N(0, 0.01) for linear layers."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, (2.0 / fan_out) ** 0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, 0.01)
            nn.init.zeros_(layer.bias)


def clone_network(network: fx.GraphModule) -> fx.GraphModule:
    """An independent copy."""
    with torch.no_grad():
        return copy.deepcopy(network)
