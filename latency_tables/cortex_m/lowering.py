"""From a network of plain torch modules to kernel calls.

Batch norms are folded into convolutions, activations into the kernel before them: as a clamp where they are one, else
as a table of 256 bytes. Batch norms that cannot be folded, and layers without a kernel, are refused by name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from latency_tables.cortex_m.calls import (
    Add,
    AveragePool,
    Convolution,
    Depthwise,
    GlobalAverage,
    Lookup,
    MaxPool,
    Pointwise,
    Scale,
)
from latency_tables.cortex_m.calls.windows import Window
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import (
    HIGH,
    LOW,
    Affine,
    Bytes,
    Finish,
    Floats,
    activation_table,
    quantize_weights,
)
from latency_tables.folding import fold_batch_norm
from search_spaces.common.errors import UserError

#: of maps that nothing is said of: instructions do not depend on it
NOMINAL = Affine(1 / 16, 0)

#: activations that are clamps: the upper end, in real numbers
_CLAMPS: dict[type[nn.Module], float] = {nn.ReLU: float("inf"), nn.ReLU6: 6.0}

_TABLES = (nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Tanh)


def lower(module: fx.GraphModule, input_shape: tuple[int, ...], affine: Mapping[str, Affine] | None = None) -> Program:
    """The calls that `module` is for one input (C, H, W) or (C,).

    `affine` says how each value is quantised, by the name of its fx node (see `calibration.calibrate`). Without it all
    are alike, which is enough for counting. Raises `UserError` naming a layer that there is no kernel for.
    """
    lowering = _Lowering(fold_batch_norm(module), affine)
    with torch.no_grad():
        for node in lowering.network.graph.nodes:
            lowering.translate(node, input_shape)
    assert lowering.input is not None and lowering.output is not None
    return Program(lowering.calls, lowering.input, lowering.output, lowering.shapes, lowering.affine)


@dataclass(eq=False)
class _Activation:
    """What follows the sums of a call: `node` is the value that the call writes."""

    node: fx.Node
    low: int = LOW
    high: int = HIGH
    table: Bytes | None = None


@dataclass(eq=False)
class _Lowering:
    network: fx.GraphModule
    given: Mapping[str, Affine] | None
    calls: list[Call] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    shapes: dict[str, Map] = field(default_factory=dict)
    affine: dict[str, Affine] = field(default_factory=dict)
    input: str | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        self.leaves = dict(self.network.named_modules())

    def translate(self, node: fx.Node, input_shape: tuple[int, ...]) -> None:
        if node in self.values:  # an activation that the call before it does
            return
        if node.op == "placeholder":
            if self.input is not None:
                raise UserError("a network with more than one input has no kernels", key=node.name)
            if len(input_shape) not in (1, 3):
                raise UserError("the kernels take images or vectors", key=node.name, value=input_shape)
            channels, height, width = (*input_shape, 1, 1)[:3]
            self.input = self.name(node, (height, width, channels), self.of(node))
        elif node.op == "output":
            result = node.args[0]
            if not isinstance(result, fx.Node) or self.values[result] == self.input:
                raise UserError("a network has one output, made by a layer", key=node.name)
            self.output = self.values[result]
        elif node.op == "call_module":
            leaf = self.leaves[str(node.target)]
            if type(leaf) not in _LEAVES:
                raise _unknown(f"torch.nn.{type(leaf).__name__}", str(node.target))
            _LEAVES[type(leaf)](self, leaf, node, self.operand(node, 0))
        elif node.op == "call_function" and node.target in _FUNCTIONS and len(node.args) == 2 and not node.kwargs:
            _FUNCTIONS[node.target](self, node, self.operand(node, 0), self.operand(node, 1))
        else:
            raise _unknown(f"{node.op} {getattr(node.target, '__name__', node.target)}", node.name)

    def of(self, node: fx.Node) -> Affine:
        """How the value of `node` is quantised."""
        if self.given is None:
            return NOMINAL
        if node.name not in self.given:
            raise UserError("nothing says how this value is quantised", key=node.name)
        return self.given[node.name]

    def name(self, node: fx.Node, shape: Map, affine: Affine) -> str:
        self.values[node] = node.name
        self.shapes[node.name], self.affine[node.name] = shape, affine
        return node.name

    def operand(self, node: fx.Node, index: int) -> str:
        value = node.args[index]
        if not isinstance(value, fx.Node) or value not in self.values:
            raise _unknown(f"{getattr(node.target, '__name__', node.target)} with {value!r}", node.name)
        return self.values[value]

    def activation(self, node: fx.Node) -> _Activation:
        """The activation after `node`, if it is the only one to read it; else nothing."""
        users = list(node.users)
        leaf = self.leaves.get(str(users[0].target)) if len(users) == 1 and users[0].op == "call_module" else None
        if leaf is not None and type(leaf) in _CLAMPS:
            after = self.of(users[0])
            return _Activation(users[0], *_clamp(type(leaf), after))
        if isinstance(leaf, _TABLES):
            return _Activation(users[0], table=_table(leaf, self.of(node), self.of(users[0])))
        return _Activation(node)

    def finished(self, node: fx.Node, shape: Map) -> tuple[_Activation, Affine]:
        """The activation of a call that begins with `node`, and how its sums are quantised before a table."""
        act = self.activation(node)
        affine = self.of(act.node)
        self.name(act.node, shape, affine)
        self.values[node] = act.node.name
        return act, self.of(node) if act.table is not None else affine


def _clamp(kind: type[nn.Module], affine: Affine) -> tuple[int, int]:
    top = _CLAMPS[kind] / affine.scale + affine.zero
    return affine.zero, HIGH if top >= HIGH else int(np.floor(top + 0.5))


def _table(leaf: nn.Module, before: Affine, after: Affine) -> Bytes:
    plain = type(leaf)(approximate=leaf.approximate) if isinstance(leaf, nn.GELU) else type(leaf)()

    def function(x: Floats) -> Floats:
        result: Floats = plain(torch.from_numpy(x.copy())).numpy()
        return result

    return activation_table(function, before, after)


def _weights(
    leaf: nn.Conv2d | nn.Linear, where: str, affine: Affine, to: Affine, act: _Activation
) -> tuple[Bytes, np.ndarray[Any, np.dtype[np.int64]], Finish]:
    """int8 weights (O, ...), biases without the input's zero, and the way from sums to `to`."""
    weight = leaf.weight.detach().double().numpy()
    bias = np.zeros(len(weight)) if leaf.bias is None else leaf.bias.detach().double().numpy()
    q, biases, scales = quantize_weights(weight, bias, affine.scale)
    largest = float((np.abs(q.astype(np.int64)).reshape(len(q), -1).sum(axis=1) * 256 + np.abs(biases)).max())
    try:
        finish = Finish.of(scales / to.scale, to.zero, largest, low=act.low, high=act.high, table=act.table)
    except UserError as error:
        raise UserError(error.message, key=where, hint=error.hint) from None
    return q, biases, finish


def _conv(lowering: _Lowering, leaf: nn.Conv2d, node: fx.Node, x: str) -> None:
    where, (height, width, _) = str(node.target), lowering.shapes[x]
    kernel, stride, pads = leaf.kernel_size, leaf.stride, set(leaf._reversed_padding_repeated_twice)
    odd = len({*kernel}) > 1 or len({*stride}) > 1 or len(pads) > 1 or max(pads) >= kernel[0]
    if odd or {*leaf.dilation} != {1} or leaf.padding_mode != "zeros":
        raise _unknown(f"Conv2d({leaf.extra_repr()})", where)
    depthwise = leaf.groups == leaf.in_channels == leaf.out_channels and leaf.groups > 1
    if leaf.groups != 1 and not depthwise:
        raise _unknown(f"Conv2d with {leaf.groups} groups of {leaf.in_channels} channels", where)
    window = Window.over(height, width, kernel[0], stride[0], pads.pop())
    act, to = lowering.finished(node, (window.out_height, window.out_width, leaf.out_channels))
    affine = lowering.affine[x]
    q, biases, finish = _weights(leaf, where, affine, to, act)
    common: dict[str, Any] = {"inputs": (x,), "output": act.node.name, "finish": finish}
    folded = biases - affine.zero * q.reshape(len(q), -1).sum(axis=1, dtype=np.int64)
    if depthwise:
        call: Call = Depthwise(**common, weights=q[:, 0], biases=biases, window=window, zero=affine.zero)
    elif kernel[0] == 1 and stride[0] == 1 and window.pad == 0:
        call = Pointwise(**common, weights=q[:, :, 0, 0], biases=folded, pixels=height * width)
    else:
        rows = q.transpose(0, 2, 3, 1)
        call = Convolution(**common, weights=rows, biases=folded, window=window, zero=affine.zero)
    lowering.calls.append(call)


def _linear(lowering: _Lowering, leaf: nn.Linear, node: fx.Node, x: str) -> None:
    where, shape = str(node.target), lowering.shapes[x]
    if shape[:2] != (1, 1):
        raise _unknown(f"Linear of a map of {shape[0]} x {shape[1]} pixels", where)
    act, to = lowering.finished(node, (1, 1, leaf.out_features))
    affine = lowering.affine[x]
    q, biases, finish = _weights(leaf, where, affine, to, act)
    folded = biases - affine.zero * q.sum(axis=1, dtype=np.int64)
    call = Pointwise(inputs=(x,), output=act.node.name, weights=q, biases=folded, finish=finish, pixels=1)
    lowering.calls.append(call)


def _global_average(lowering: _Lowering, leaf: nn.AdaptiveAvgPool2d, node: fx.Node, x: str) -> None:
    if leaf.output_size not in (1, (1, 1)):
        raise _unknown(f"AdaptiveAvgPool2d({leaf.output_size})", str(node.target))
    shape, after = lowering.shapes[x], lowering.of(node)
    lowering.name(node, (1, 1, shape[2]), after)
    call = GlobalAverage(inputs=(x,), output=node.name, shape=shape, before=lowering.affine[x], after=after)
    lowering.calls.append(call)


def _average_pool(lowering: _Lowering, leaf: nn.AvgPool2d, node: fx.Node, x: str) -> None:
    (height, width, channels), after = lowering.shapes[x], lowering.of(node)
    kernel, stride = _side(leaf.kernel_size), _side(leaf.stride)
    if None in (kernel, stride) or _side(leaf.padding) != 0 or leaf.divisor_override is not None:
        raise _unknown(f"AvgPool2d({leaf.extra_repr()})", str(node.target))
    assert kernel is not None and stride is not None
    sides = [(side - kernel) // stride + 1 for side in (height, width)]
    if leaf.ceil_mode:  # one more window that begins inside, where the last does not reach the edge
        starts = [-(-(side - kernel) // stride) for side in (height, width)]
        sides = [n + (start * stride < side) for n, start, side in zip(starts, starts, (height, width), strict=True)]
    window = Window(height, width, kernel, stride, 0, *sides)
    lowering.name(node, (*sides, channels), after)  # type: ignore[arg-type]
    before = lowering.affine[x]
    call = AveragePool(inputs=(x,), output=node.name, window=window, num_channels=channels, before=before, after=after)
    lowering.calls.append(call)


def _max_pool(lowering: _Lowering, leaf: nn.MaxPool2d, node: fx.Node, x: str) -> None:
    height, width, channels = lowering.shapes[x]
    kernel, stride, pad, dilation = (_side(v) for v in (leaf.kernel_size, leaf.stride, leaf.padding, leaf.dilation))
    if None in (kernel, stride, pad) or dilation != 1 or leaf.ceil_mode or leaf.return_indices:
        raise _unknown(f"MaxPool2d({leaf.extra_repr()})", str(node.target))
    assert kernel is not None and stride is not None and pad is not None
    window = Window.over(height, width, kernel, stride, pad)
    lowering.name(node, (window.out_height, window.out_width, channels), lowering.affine[x])
    lowering.calls.append(MaxPool(inputs=(x,), output=node.name, window=window, num_channels=channels))


def _flatten(lowering: _Lowering, leaf: nn.Flatten, node: fx.Node, x: str) -> None:
    if (leaf.start_dim, leaf.end_dim) != (1, -1) or lowering.shapes[x][:2] != (1, 1):
        raise _unknown(f"Flatten of a map of {lowering.shapes[x][0]} x {lowering.shapes[x][1]}", str(node.target))
    lowering.values[node] = x


def _same(lowering: _Lowering, leaf: nn.Module, node: fx.Node, x: str) -> None:
    lowering.values[node] = x


def _activation(lowering: _Lowering, leaf: nn.Module, node: fx.Node, x: str) -> None:
    """An activation that no call could take up."""
    after, shape = lowering.of(node), lowering.shapes[x]
    lowering.name(node, shape, after)
    table = _table(leaf, lowering.affine[x], after)
    lowering.calls.append(Lookup(inputs=(x,), output=node.name, shape=shape, table=table))


def _add(lowering: _Lowering, node: fx.Node, first: str, second: str) -> None:
    shape = lowering.shapes[first]
    if lowering.shapes[second] != shape:
        raise _unknown(f"a sum of {shape} and {lowering.shapes[second]}", node.name)
    act, to = lowering.finished(node, shape)
    terms: dict[str, Any] = {"first": lowering.affine[first], "second": lowering.affine[second], "after": to}
    ends: dict[str, Any] = {"low": act.low, "high": act.high, "table": act.table}
    lowering.calls.append(Add(inputs=(first, second), output=act.node.name, shape=shape, **terms, **ends))


def _multiply(lowering: _Lowering, node: fx.Node, x: str, gates: str) -> None:
    if lowering.shapes[x][:2] == (1, 1) and lowering.shapes[gates][:2] != (1, 1):
        x, gates = gates, x
    shape, after = lowering.shapes[x], lowering.of(node)
    if lowering.shapes[gates] != (1, 1, shape[2]):
        raise _unknown(f"a product of {shape} and {lowering.shapes[gates]}", node.name)
    lowering.name(node, shape, after)
    before, gate = lowering.affine[x], lowering.affine[gates]
    call = Scale(inputs=(x, gates), output=node.name, shape=shape, before=before, gate=gate, after=after)
    lowering.calls.append(call)


def _side(value: int | tuple[int, ...]) -> int | None:
    """Of a square; None if it is none."""
    if isinstance(value, int):
        return value
    return value[0] if len({*value}) == 1 else None


_LEAVES: dict[type[nn.Module], Callable[[_Lowering, Any, fx.Node, str], None]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.Identity: _same,
    nn.Dropout: _same,
    **dict.fromkeys((*_CLAMPS, *_TABLES), _activation),
}

_FUNCTIONS: dict[Any, Callable[[_Lowering, fx.Node, str, str], None]] = {
    operator.add: _add,
    torch.add: _add,
    operator.mul: _multiply,
    torch.mul: _multiply,
}


def _unknown(what: str, where: str) -> UserError:
    known = ", ".join(leaf.__name__ for leaf in _LEAVES)
    return UserError(f"there is no Cortex-M kernel for {what}", key=where, hint=f"Known: {known}, + and *")
