"""Translations of the layers of convolutional networks. Images lie channels-last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn

from latency_tables.tflite.file import TFLiteTensor
from latency_tables.tflite.values import Value, of_image

if TYPE_CHECKING:
    from latency_tables.tflite.graph import Graph

#: numbers of the schema's Padding
SAME, VALID = 0, 1

Pads = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Windows:
    """Windows slid over images: sides of the result, what must lie around the images (height, width; before and after
    each), and whether TensorFlow's SAME puts just that there.
    """

    sides: tuple[int, int]
    pads: Pads
    is_same: bool

    @property
    def padding(self) -> int:
        return SAME if self.is_same and self.is_padded else VALID

    @property
    def is_padded(self) -> bool:
        return any(sum(pair) for pair in self.pads)


def windows(
    sides: Sequence[int], kernel: Sequence[int], stride: Sequence[int], pads: Pads, dilation: Sequence[int] = (1, 1)
) -> Windows:
    """`pads` are torch's; what no window reaches at the far ends is left out.

    SAME splits what it needs evenly, with the odd one at the end: with a stride of 2 and even sides, torch's symmetric
    padding is another one.
    """
    found, needed, same = [], [], True
    for side, k, step, (before, after), d in zip(sides, kernel, stride, pads, dilation, strict=True):
        reach = d * (k - 1) + 1
        num = (side + before + after - reach) // step + 1
        end = max((num - 1) * step + reach - side - before, 0)
        total = max(((-(-side // step)) - 1) * step + reach - side, 0)
        same &= num == -(-side // step) and (before, end) == (total // 2, total - total // 2)
        found.append(num)
        needed.append((before, end))
    return Windows((found[0], found[1]), (needed[0], needed[1]), same)


def _conv(graph: Graph, leaf: nn.Conv2d, node: fx.Node, value: Value) -> Value:
    if leaf.padding_mode != "zeros":
        raise graph.unknown(f"Conv2d with padding_mode={leaf.padding_mode!r}", str(node.target))
    x = graph.image(value, node.name)
    left, right, top, bottom = leaf._reversed_padding_repeated_twice  # the one form that "same" and numbers share
    slid = windows(x.shape[1:3], leaf.kernel_size, leaf.stride, ((top, bottom), (left, right)), leaf.dilation)
    if slid.padding == VALID:
        x = pad(graph, x, node.name, slid.pads)
    weight = leaf.weight.detach()
    bias = torch.zeros(leaf.out_channels) if leaf.bias is None else leaf.bias
    options: dict[str, Any] = {
        "padding": slid.padding,
        "strideH": leaf.stride[0],
        "strideW": leaf.stride[1],
        "dilationHFactor": leaf.dilation[0],
        "dilationWFactor": leaf.dilation[1],
        "fusedActivationFunction": 0,
    }
    kind = "CONV_2D"
    if leaf.groups == leaf.in_channels > 1:
        kind, weight = "DEPTHWISE_CONV_2D", weight.permute(1, 2, 3, 0)
        options["depthMultiplier"] = leaf.out_channels // leaf.in_channels
    else:
        weight = weight.permute(0, 2, 3, 1)
    inputs = [x, graph.weight(f"{node.target}.weight", weight), graph.weight(f"{node.target}.bias", bias)]
    return of_image(graph.add(kind, inputs, node.name, (1, *slid.sides, leaf.out_channels), **options))


def pad(graph: Graph, x: TFLiteTensor, name: str, pads: Pads, value: float | None = None) -> TFLiteTensor:
    """`x` with zeros, or with `value`, around its images."""
    if not any(sum(pair) for pair in pads):
        return x
    amounts = ((0, 0), *pads, (0, 0))
    shape = tuple(side + sum(pair) for side, pair in zip(x.shape, amounts, strict=True))
    inputs = [x, graph.numbers(amounts)]
    if value is None:
        return graph.add("PAD", inputs, f"{name}.padded", shape)
    return graph.add("PADV2", [*inputs, graph.number(value)], f"{name}.padded", shape)


def _batch_norm(graph: Graph, leaf: nn.BatchNorm2d, node: fx.Node, value: Value) -> Value:
    """What could not be folded, as a product and a sum."""
    if leaf.running_mean is None or leaf.running_var is None:
        raise graph.unknown("BatchNorm2d without running statistics", str(node.target))
    x = graph.image(value, node.name)
    scale = torch.rsqrt(leaf.running_var + leaf.eps)
    scale = scale if leaf.weight is None else scale * leaf.weight
    shift = -leaf.running_mean * scale
    shift = shift if leaf.bias is None else shift + leaf.bias
    factor, summand = graph.weight(f"{node.target}.scale", scale), graph.weight(f"{node.target}.shift", shift)
    y = graph.add("MUL", [x, factor], f"{node.name}.scaled", x.shape, fusedActivationFunction=0)
    return of_image(graph.add("ADD", [y, summand], node.name, x.shape, fusedActivationFunction=0))


def _linear(graph: Graph, leaf: nn.Linear, node: fx.Node, value: Value) -> Value:
    value = graph.last_is_last(value, node.name)
    bias = torch.zeros(leaf.out_features) if leaf.bias is None else leaf.bias
    inputs = [
        value.tensor,
        graph.weight(f"{node.target}.weight", leaf.weight),
        graph.weight(f"{node.target}.bias", bias),
    ]
    shape = (*value.tensor.shape[:-1], leaf.out_features)
    keeps = len(shape) > 2
    y = graph.add("FULLY_CONNECTED", inputs, node.name, shape, fusedActivationFunction=0, keepNumDims=keeps)
    return value.like(y)


def _max_pool(graph: Graph, leaf: nn.MaxPool2d, node: fx.Node, value: Value) -> Value:
    dilation, padding = _pair(leaf.dilation), _pair(leaf.padding)
    if leaf.ceil_mode or leaf.return_indices or dilation != (1, 1):
        raise graph.unknown("MaxPool2d with ceil_mode, return_indices or dilation", str(node.target))
    x = graph.image(value, node.name)
    kernel, stride = _pair(leaf.kernel_size), _pair(leaf.stride)
    slid = windows(x.shape[1:3], kernel, stride, ((padding[0],) * 2, (padding[1],) * 2))
    if slid.padding == VALID:  # with what is never the maximum; zeros, where they are not, have faster operators
        least = None if graph.is_positive(x) else float(np.finfo(np.float32).min)
        x = pad(graph, x, node.name, slid.pads, least)
    return of_image(_slide(graph, "MAX_POOL_2D", x, node.name, kernel, stride, slid))


def _average_pool(graph: Graph, leaf: nn.AvgPool2d, node: fx.Node, value: Value) -> Value:
    """With `ceil_mode`, windows over the far edge average what is there, as SAME does. Where one axis needs SAME and
    the other is another one under it, one after the other: means of means of equally many are means of all.
    """
    if any(_pair(leaf.padding)) or leaf.divisor_override is not None:
        raise graph.unknown("AvgPool2d with padding or divisor_override", str(node.target))
    x = graph.image(value, node.name)
    kernel, stride = _pair(leaf.kernel_size), _pair(leaf.stride)
    ends = [(0, 0), (0, 0)]
    for axis, side in enumerate(x.shape[1:3]):
        num = (side - kernel[axis]) // stride[axis] + 1
        if leaf.ceil_mode and num * stride[axis] < side and (num - 1) * stride[axis] + kernel[axis] < side:
            ends[axis] = (0, num * stride[axis] + kernel[axis] - side)  # one more window begins inside
    slid = windows(x.shape[1:3], kernel, stride, (ends[0], ends[1]))
    if slid.is_same or not slid.is_padded:
        return of_image(_slide(graph, "AVERAGE_POOL_2D", x, node.name, kernel, stride, slid))
    for axis in (0, 1):
        along = ((kernel[0], 1), (1, kernel[1]))[axis], ((stride[0], 1), (1, stride[1]))[axis]
        slid = windows(x.shape[1:3], *along, (ends[0], (0, 0)) if axis == 0 else ((0, 0), ends[1]))
        if slid.is_padded and not slid.is_same:
            raise graph.unknown(f"AvgPool2d({leaf.kernel_size}, {leaf.stride}) of {value.shape}", str(node.target))
        name = node.name if axis else f"{node.name}.rows"
        x = _slide(graph, "AVERAGE_POOL_2D", x, name, *along, slid)
    return of_image(x)


def _slide(
    graph: Graph,
    kind: str,
    x: TFLiteTensor,
    name: str,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    slid: Windows,
) -> TFLiteTensor:
    return graph.add(
        kind,
        [x],
        name,
        (1, *slid.sides, x.shape[3]),
        padding=slid.padding,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=0,
    )


def _pool(graph: Graph, leaf: nn.AdaptiveAvgPool2d, node: fx.Node, value: Value) -> Value:
    if leaf.output_size not in (1, (1, 1)):
        raise graph.unknown(f"AdaptiveAvgPool2d({leaf.output_size})", str(node.target))
    x = graph.image(value, node.name)
    axes = graph.numbers([1, 2])
    return of_image(graph.add("MEAN", [x, axes], node.name, (1, 1, 1, x.shape[3]), keepDims=True))


def _flatten(graph: Graph, leaf: nn.Flatten, node: fx.Node, value: Value) -> Value:
    if (leaf.start_dim, leaf.end_dim) != (1, -1):
        raise graph.unknown(f"Flatten({leaf.start_dim}, {leaf.end_dim})", str(node.target))
    return graph.flatten(value, node.name, 1, len(value.order) - 1)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _same(graph: Graph, leaf: nn.Module, node: fx.Node, value: Value) -> Value:
    return value


def _fusible(kind: str) -> Callable[[Graph, nn.Module, fx.Node, Value], Value]:
    """A part of the operator before it, where that can be."""

    def translate(graph: Graph, leaf: nn.Module, node: fx.Node, value: Value) -> Value:
        if graph.fuse(node, kind):
            return value
        return value.like(graph.add(kind, [value.tensor], node.name, value.tensor.shape))

    return translate


def _elementwise(kind: str, **options: Any) -> Callable[[Graph, nn.Module, fx.Node, Value], Value]:
    def translate(graph: Graph, leaf: nn.Module, node: fx.Node, value: Value) -> Value:
        return value.like(graph.add(kind, [value.tensor], node.name, value.tensor.shape, **options))

    return translate


def _hard_sigmoid(graph: Graph, leaf: nn.Hardsigmoid, node: fx.Node, value: Value) -> Value:
    """relu6(x + 3) / 6: there is no operator of its own."""
    x, name = value.tensor, node.name
    shifted = [x, graph.number(3.0)]
    y = graph.add("ADD", shifted, f"{name}.shifted", x.shape, fusedActivationFunction=3)
    scaled = [y, graph.number(1 / 6)]
    return value.like(graph.add("MUL", scaled, name, x.shape, fusedActivationFunction=0))


LAYERS: dict[type[nn.Module], Callable[[Graph, Any, fx.Node, Value], Value]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.AdaptiveAvgPool2d: _pool,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Dropout: _same,
    nn.Identity: _same,
    nn.ReLU: _fusible("RELU"),
    nn.ReLU6: _fusible("RELU6"),
    nn.Sigmoid: _elementwise("LOGISTIC"),
    nn.Hardswish: _elementwise("HARD_SWISH"),
    nn.Hardsigmoid: _hard_sigmoid,
}
