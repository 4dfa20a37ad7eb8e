"""How a torch.nn layer is made: what its constructor was called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from search_spaces.common.errors import UserError

#: arguments that count channels or features: equal ones in all blocks of a class are one parameter of it
WIDTHS = ("in_channels", "out_channels", "in_features", "out_features", "num_features", "normalized_shape", "groups")


@dataclass(frozen=True)
class Argument:
    """`default`: left unsaid where the value is that; `by_name`: said as `name=value`."""

    name: str
    value: Any
    default: Any = None
    by_name: bool = True


def arguments(leaf: nn.Module, where: str) -> tuple[Argument, ...]:
    """What `leaf` was constructed with. Raises `UserError` for a kind of layer that is not known, naming `where`."""
    if type(leaf) not in _ARGUMENTS:
        known = ", ".join(kind.__name__ for kind in _ARGUMENTS)
        raise UserError(f"torch.nn.{type(leaf).__name__} cannot be written as code", key=where, hint=f"Known: {known}")
    return _ARGUMENTS[type(leaf)](leaf)


def is_activation(leaf: nn.Module) -> bool:
    """Whether it is one function of numbers, of no size."""
    return isinstance(leaf, nn.ReLU | nn.ReLU6 | nn.Hardswish | nn.Hardsigmoid | nn.Sigmoid | nn.GELU)


def _convolution(leaf: nn.Conv2d) -> tuple[Argument, ...]:
    return (
        Argument("in_channels", leaf.in_channels, by_name=False),
        Argument("out_channels", leaf.out_channels, by_name=False),
        Argument("kernel_size", _side(leaf.kernel_size), by_name=False),
        Argument("stride", _side(leaf.stride), 1),
        Argument("padding", leaf.padding if isinstance(leaf.padding, str) else _side(leaf.padding), 0),
        Argument("dilation", _side(leaf.dilation), 1),
        Argument("groups", leaf.groups, 1),
        Argument("bias", leaf.bias is not None, True),
        Argument("padding_mode", leaf.padding_mode, "zeros"),
    )


def _linear(leaf: nn.Linear) -> tuple[Argument, ...]:
    return (
        Argument("in_features", leaf.in_features, by_name=False),
        Argument("out_features", leaf.out_features, by_name=False),
        Argument("bias", leaf.bias is not None, True),
    )


def _batch_norm(leaf: nn.BatchNorm2d) -> tuple[Argument, ...]:
    return (
        Argument("num_features", leaf.num_features, by_name=False),
        Argument("eps", leaf.eps, 1e-5),
        Argument("momentum", leaf.momentum, 0.1),
        Argument("affine", leaf.affine, True),
        Argument("track_running_stats", leaf.track_running_stats, True),
    )


def _layer_norm(leaf: nn.LayerNorm) -> tuple[Argument, ...]:
    shape = leaf.normalized_shape
    return (
        Argument("normalized_shape", shape[0] if len(shape) == 1 else shape, by_name=False),
        Argument("eps", leaf.eps, 1e-5),
        Argument("elementwise_affine", leaf.elementwise_affine, True),
    )


def _average_pool(leaf: nn.AvgPool2d) -> tuple[Argument, ...]:
    return (
        Argument("kernel_size", _side(leaf.kernel_size), by_name=False),
        Argument("stride", _side(leaf.stride), _side(leaf.kernel_size)),
        Argument("padding", _side(leaf.padding), 0),
        Argument("ceil_mode", leaf.ceil_mode, False),
        Argument("count_include_pad", leaf.count_include_pad, True),
    )


def _max_pool(leaf: nn.MaxPool2d) -> tuple[Argument, ...]:
    return (
        Argument("kernel_size", _side(leaf.kernel_size), by_name=False),
        Argument("stride", _side(leaf.stride), _side(leaf.kernel_size)),
        Argument("padding", _side(leaf.padding), 0),
        Argument("dilation", _side(leaf.dilation), 1),
        Argument("ceil_mode", leaf.ceil_mode, False),
    )


def _in_place(leaf: Any) -> tuple[Argument, ...]:
    return (Argument("inplace", leaf.inplace, False),)


def _nothing(leaf: nn.Module) -> tuple[Argument, ...]:
    return ()


def _side(value: Any) -> Any:
    """One number for a square."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


_ARGUMENTS: dict[type[nn.Module], Callable[[Any], tuple[Argument, ...]]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: lambda leaf: (Argument("output_size", leaf.output_size, by_name=False),),
    nn.Flatten: lambda leaf: (Argument("start_dim", leaf.start_dim, 1), Argument("end_dim", leaf.end_dim, -1)),
    nn.Dropout: lambda leaf: (Argument("p", leaf.p, by_name=False),),
    nn.ZeroPad2d: lambda leaf: (Argument("padding", tuple(leaf.padding), by_name=False),),
    nn.ConstantPad1d: lambda leaf: (
        Argument("padding", tuple(leaf.padding), by_name=False),
        Argument("value", leaf.value, by_name=False),
    ),
    nn.Identity: _nothing,
    nn.Sigmoid: _nothing,
    nn.GELU: lambda leaf: (Argument("approximate", leaf.approximate, "none"),),
    nn.ReLU: _in_place,
    nn.ReLU6: _in_place,
    nn.Hardswish: _in_place,
    nn.Hardsigmoid: _in_place,
}
