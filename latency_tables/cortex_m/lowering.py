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
from torch import Tensor, fx, nn

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
from latency_tables.cortex_m.lowering_tokens import CALLS, add_constant, layer_norm
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
CLAMPS: dict[type[nn.Module], float] = {nn.ReLU: float("inf"), nn.ReLU6: 6.0}

TABLES = (nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.GELU, nn.SiLU, nn.Tanh)


def lower(module: fx.GraphModule, input_shape: tuple[int, ...], affine: Mapping[str, Affine] | None = None) -> Program:
    """The calls that `module` is for one input (C, H, W), (N, D) or (C,).

    `affine` says how each value is quantised, by the name of its fx node (see `calibration.calibrate`). Without it all
    are alike, which is enough for counting. Raises `UserError` naming a layer that there is no kernel for.
    """
    lowering = Lowering(fold_batch_norm(module), affine)
    with torch.no_grad():
        for node in lowering.network.graph.nodes:
            lowering.translate(node, input_shape)
    assert lowering.input is not None and lowering.output is not None
    return Program(lowering.calls, lowering.input, lowering.output, lowering.shapes, lowering.affine)


@dataclass(eq=False)
class Activation:
    """What follows the sums of a call: `node` is the value that the call writes."""

    node: fx.Node
    low: int = LOW
    high: int = HIGH
    table: Bytes | None = None


@dataclass(eq=False)
class Lowering:
    network: fx.GraphModule
    given: Mapping[str, Affine] | None
    calls: list[Call] = field(default_factory=list)
    values: dict[fx.Node, str] = field(default_factory=dict)
    shapes: dict[str, Map] = field(default_factory=dict)
    affine: dict[str, Affine] = field(default_factory=dict)
    input: str | None = None
    output: str | None = None
    forms: dict[fx.Node, str] = field(default_factory=dict)
    """How torch has a value, where it is no image or vector: see `lowering_tokens`."""
    head_features: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leaves = dict(self.network.named_modules())

    def translate(self, node: fx.Node, input_shape: tuple[int, ...]) -> None:
        if node in self.values:  # an activation that the call before it does
            return
        if node.op == "placeholder":
            if self.input is not None:
                raise UserError("a network with more than one input has no kernels", key=node.name)
            if len(input_shape) not in (1, 2, 3):
                raise UserError("the kernels take images, tokens or vectors", key=node.name, value=input_shape)
            if len(input_shape) == 2:
                self.input = self.name(node, (1, *input_shape), self.of(node), form="tokens")
            else:
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
                raise self.unknown(f"torch.nn.{type(leaf).__name__}", str(node.target))
            if (form := self.form(node.args[0])) not in _FORMS.get(type(leaf), ("image",)):
                raise self.unknown(f"{type(leaf).__name__} of {form}", str(node.target))
            _LEAVES[type(leaf)](self, leaf, node, self.operand(node, 0))
        elif node.op == "get_attr":
            return  # read by the sum that it is a term of
        elif node.op in ("call_function", "call_method") and (name := _name(node)) in CALLS:
            CALLS[name](self, node, self.operand(node, 0))
        elif node.op == "call_function" and node.target in _FUNCTIONS and len(node.args) == 2 and not node.kwargs:
            second = node.args[1]
            if _FUNCTIONS[node.target] is _add and isinstance(second, fx.Node) and second.op == "get_attr":
                add_constant(self, node, self.operand(node, 0), self.parameter(str(second.target)))
            else:
                _FUNCTIONS[node.target](self, node, self.operand(node, 0), self.operand(node, 1))
        else:
            raise self.unknown(f"{node.op} {_name(node)}", node.name)

    def of(self, node: fx.Node) -> Affine:
        """How the value of `node` is quantised."""
        if self.given is None:
            return NOMINAL
        if node.name not in self.given:
            raise UserError("nothing says how this value is quantised", key=node.name)
        return self.given[node.name]

    def name(self, node: fx.Node, shape: Map, affine: Affine, *, form: str = "image") -> str:
        self.rename(node, node.name, form)
        self.shapes[node.name], self.affine[node.name] = shape, affine
        return node.name

    def rename(self, node: fx.Node, value: str, form: str) -> None:
        """`node` is `value` in another form."""
        self.values[node], self.forms[node] = value, form

    def form(self, node: object) -> str:
        return self.forms.get(node, "image") if isinstance(node, fx.Node) else "constant"

    def parameter(self, target: str) -> Tensor:
        module, _, name = target.rpartition(".")
        found = getattr(self.leaves[module], name)
        assert isinstance(found, Tensor)
        return found

    def unknown(self, what: str, where: str) -> UserError:
        known = ", ".join([*(leaf.__name__ for leaf in _LEAVES), *CALLS])
        return UserError(f"there is no Cortex-M kernel for {what}", key=where, hint=f"Known: {known}, + and *")

    def operand(self, node: fx.Node, index: int) -> str:
        value = node.args[index]
        if not isinstance(value, fx.Node) or value not in self.values:
            raise self.unknown(f"{_name(node)} with {value!r}", node.name)
        return self.values[value]

    def activation(self, node: fx.Node) -> Activation:
        """The activation after `node`, if it is the only one to read it; else nothing."""
        users = list(node.users)
        leaf = self.leaves.get(str(users[0].target)) if len(users) == 1 and users[0].op == "call_module" else None
        if leaf is not None and type(leaf) in CLAMPS:
            after = self.of(users[0])
            return Activation(users[0], *_clamp(type(leaf), after))
        if isinstance(leaf, TABLES):
            return Activation(users[0], table=_table(leaf, self.of(node), self.of(users[0])))
        return Activation(node)

    def finished(self, node: fx.Node, shape: Map, *, form: str = "image") -> tuple[Activation, Affine]:
        """The activation of a call that begins with `node`, and how its sums are quantised before a table."""
        act = self.activation(node)
        affine = self.of(act.node)
        self.name(act.node, shape, affine, form=form)
        self.rename(node, act.node.name, form)
        return act, self.of(node) if act.table is not None else affine


def _clamp(kind: type[nn.Module], affine: Affine) -> tuple[int, int]:
    top = CLAMPS[kind] / affine.scale + affine.zero
    return affine.zero, HIGH if top >= HIGH else int(np.floor(top + 0.5))


def _table(leaf: nn.Module, before: Affine, after: Affine) -> Bytes:
    plain = type(leaf)(approximate=leaf.approximate) if isinstance(leaf, nn.GELU) else type(leaf)()

    def function(x: Floats) -> Floats:
        result: Floats = plain(torch.from_numpy(x.copy())).numpy()
        return result

    return activation_table(function, before, after)


def _weights(
    leaf: nn.Conv2d | nn.Linear, where: str, affine: Affine, to: Affine, act: Activation
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


def _conv(lowering: Lowering, leaf: nn.Conv2d, node: fx.Node, x: str) -> None:
    where, (height, width, _) = str(node.target), lowering.shapes[x]
    kernel, stride, pads = leaf.kernel_size, leaf.stride, set(leaf._reversed_padding_repeated_twice)
    odd = len({*kernel}) > 1 or len({*stride}) > 1 or len(pads) > 1 or max(pads) >= kernel[0]
    if odd or {*leaf.dilation} != {1} or leaf.padding_mode != "zeros":
        raise lowering.unknown(f"Conv2d({leaf.extra_repr()})", where)
    depthwise = leaf.groups == leaf.in_channels == leaf.out_channels and leaf.groups > 1
    if leaf.groups != 1 and not depthwise:
        raise lowering.unknown(f"Conv2d with {leaf.groups} groups of {leaf.in_channels} channels", where)
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


def _linear(lowering: Lowering, leaf: nn.Linear, node: fx.Node, x: str) -> None:
    where, shape, form = str(node.target), lowering.shapes[x], lowering.form(node.args[0])
    if form != "tokens" and shape[:2] != (1, 1):
        raise lowering.unknown(f"Linear of a map of {shape[0]} x {shape[1]} pixels", where)
    act, to = lowering.finished(node, (*shape[:2], leaf.out_features), form=form)
    affine = lowering.affine[x]
    q, biases, finish = _weights(leaf, where, affine, to, act)
    folded = biases - affine.zero * q.sum(axis=1, dtype=np.int64)
    common: dict[str, Any] = {"inputs": (x,), "output": act.node.name, "finish": finish}
    lowering.calls.append(Pointwise(**common, weights=q, biases=folded, pixels=shape[1]))


def _global_average(lowering: Lowering, leaf: nn.AdaptiveAvgPool2d, node: fx.Node, x: str) -> None:
    if leaf.output_size not in (1, (1, 1)):
        raise lowering.unknown(f"AdaptiveAvgPool2d({leaf.output_size})", str(node.target))
    shape, after = lowering.shapes[x], lowering.of(node)
    lowering.name(node, (1, 1, shape[2]), after)
    call = GlobalAverage(inputs=(x,), output=node.name, shape=shape, before=lowering.affine[x], after=after)
    lowering.calls.append(call)


def _average_pool(lowering: Lowering, leaf: nn.AvgPool2d, node: fx.Node, x: str) -> None:
    (height, width, channels), after = lowering.shapes[x], lowering.of(node)
    kernel, stride = _side(leaf.kernel_size), _side(leaf.stride)
    if None in (kernel, stride) or _side(leaf.padding) != 0 or leaf.divisor_override is not None:
        raise lowering.unknown(f"AvgPool2d({leaf.extra_repr()})", str(node.target))
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


def _max_pool(lowering: Lowering, leaf: nn.MaxPool2d, node: fx.Node, x: str) -> None:
    height, width, channels = lowering.shapes[x]
    kernel, stride, pad, dilation = (_side(v) for v in (leaf.kernel_size, leaf.stride, leaf.padding, leaf.dilation))
    if None in (kernel, stride, pad) or dilation != 1 or leaf.ceil_mode or leaf.return_indices:
        raise lowering.unknown(f"MaxPool2d({leaf.extra_repr()})", str(node.target))
    assert kernel is not None and stride is not None and pad is not None
    window = Window.over(height, width, kernel, stride, pad)
    lowering.name(node, (window.out_height, window.out_width, channels), lowering.affine[x])
    lowering.calls.append(MaxPool(inputs=(x,), output=node.name, window=window, num_channels=channels))


def _flatten(lowering: Lowering, leaf: nn.Flatten, node: fx.Node, x: str) -> None:
    if (leaf.start_dim, leaf.end_dim) != (1, -1) or lowering.shapes[x][:2] != (1, 1):
        raise lowering.unknown(
            f"Flatten of a map of {lowering.shapes[x][0]} x {lowering.shapes[x][1]}", str(node.target)
        )
    lowering.values[node] = x


def _same(lowering: Lowering, leaf: nn.Module, node: fx.Node, x: str) -> None:
    lowering.rename(node, x, lowering.form(node.args[0]))


def _activation(lowering: Lowering, leaf: nn.Module, node: fx.Node, x: str) -> None:
    """An activation that no call could take up."""
    after, shape = lowering.of(node), lowering.shapes[x]
    lowering.name(node, shape, after, form=lowering.form(node.args[0]))
    table = _table(leaf, lowering.affine[x], after)
    lowering.calls.append(Lookup(inputs=(x,), output=node.name, shape=shape, table=table))


def _add(lowering: Lowering, node: fx.Node, first: str, second: str) -> None:
    shape, form = lowering.shapes[first], lowering.form(node.args[0])
    if lowering.shapes[second] != shape or lowering.form(node.args[1]) != form or form not in ("image", "tokens"):
        raise lowering.unknown(f"a sum of {shape} and {lowering.shapes[second]}", node.name)
    act, to = lowering.finished(node, shape, form=form)
    terms: dict[str, Any] = {"first": lowering.affine[first], "second": lowering.affine[second], "after": to}
    ends: dict[str, Any] = {"low": act.low, "high": act.high, "table": act.table}
    lowering.calls.append(Add(inputs=(first, second), output=act.node.name, shape=shape, **terms, **ends))


def _multiply(lowering: Lowering, node: fx.Node, x: str, gates: str) -> None:
    if lowering.shapes[x][:2] == (1, 1) and lowering.shapes[gates][:2] != (1, 1):
        x, gates = gates, x
    shape, after = lowering.shapes[x], lowering.of(node)
    if lowering.shapes[gates] != (1, 1, shape[2]) or {lowering.form(part) for part in node.args} != {"image"}:
        raise lowering.unknown(f"a product of {shape} and {lowering.shapes[gates]}", node.name)
    lowering.name(node, shape, after)
    before, gate = lowering.affine[x], lowering.affine[gates]
    call = Scale(inputs=(x, gates), output=node.name, shape=shape, before=before, gate=gate, after=after)
    lowering.calls.append(call)


def _side(value: int | tuple[int, ...]) -> int | None:
    """Of a square; None if it is none."""
    if isinstance(value, int):
        return value
    return value[0] if len({*value}) == 1 else None


_LEAVES: dict[type[nn.Module], Callable[[Lowering, Any, fx.Node, str], None]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.AvgPool2d: _average_pool,
    nn.MaxPool2d: _max_pool,
    nn.Flatten: _flatten,
    nn.LayerNorm: layer_norm,
    nn.Identity: _same,
    nn.Dropout: _same,
    **dict.fromkeys((*CLAMPS, *TABLES), _activation),
}

#: layers that take more than images and vectors
_FORMS: dict[type[nn.Module], tuple[str, ...]] = dict.fromkeys(
    (nn.Linear, nn.LayerNorm, nn.Identity, nn.Dropout, *CLAMPS, *TABLES), ("image", "tokens")
)

_FUNCTIONS: dict[Any, Callable[[Lowering, fx.Node, str, str], None]] = {
    operator.add: _add,
    torch.add: _add,
    operator.mul: _multiply,
    torch.mul: _multiply,
}


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target))
