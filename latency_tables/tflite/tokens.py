"""Translations of what transformers are made of: layers on tokens, and the functions and methods between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import fx, nn

from latency_tables.tflite.file import TFLiteOperator, TFLiteTensor
from latency_tables.tflite.values import Value, of_plain

if TYPE_CHECKING:
    from latency_tables.tflite.graph import Graph

#: products of matrices of more axes than this are done with the outer ones joined: runtimes know no more
_MATMUL_AXES = 4


def _layer_norm(graph: Graph, leaf: nn.LayerNorm, node: fx.Node, value: Value) -> Value:
    """Written out: there is no operator of its own."""
    if len(leaf.normalized_shape) != 1:
        raise graph.unknown(f"LayerNorm over {leaf.normalized_shape}", str(node.target))
    value = graph.last_is_last(value, node.name)
    x, name = value.tensor, node.name
    rows = (*x.shape[:-1], 1)
    last = graph.numbers([len(x.shape) - 1])
    mean = graph.add("MEAN", [x, last], f"{name}.mean", rows, keepDims=True)
    centred = graph.add("SUB", [x, mean], f"{name}.centred", x.shape, fusedActivationFunction=0)
    # XNNPACK multiplies in 8 bits; SQUARED_DIFFERENCE is left to a plain loop, a sixth of a transformer's time
    squares = graph.add("MUL", [centred, centred], f"{name}.squares", x.shape, fusedActivationFunction=0)
    variance = graph.add("MEAN", [squares, last], f"{name}.variance", rows, keepDims=True)
    eps = graph.number(leaf.eps)
    variance = graph.add("ADD", [variance, eps], f"{name}.raised", rows, fusedActivationFunction=0)
    scale = graph.add("RSQRT", [variance], f"{name}.scale", rows)
    y = graph.add("MUL", [centred, scale], f"{name}.normed", x.shape, fusedActivationFunction=0)
    if leaf.weight is not None:
        weight = graph.weight(f"{node.target}.weight", leaf.weight)
        y = graph.add("MUL", [y, weight], f"{name}.scaled", x.shape, fusedActivationFunction=0)
    if leaf.bias is not None:
        bias = graph.weight(f"{node.target}.bias", leaf.bias)
        y = graph.add("ADD", [y, bias], name, x.shape, fusedActivationFunction=0)
    return value.like(y)


def _gelu(graph: Graph, leaf: nn.GELU, node: fx.Node, value: Value) -> Value:
    if leaf.approximate != "none":
        raise graph.unknown(f"GELU with approximate={leaf.approximate!r}", str(node.target))
    return value.like(graph.add("GELU", [value.tensor], node.name, value.tensor.shape, approximate=False))


def _pad(graph: Graph, name: str, value: Value, amounts: Sequence[tuple[int, int]], number: float) -> Value:
    """`amounts` before and after each of the last axes of torch's order."""
    pads = [(0, 0)] * (len(value.order) - len(amounts)) + list(amounts)
    pads = [pads[axis] for axis in value.order]
    shape = tuple(side + sum(pair) for side, pair in zip(value.tensor.shape, pads, strict=True))
    inputs = [value.tensor, graph.numbers(pads)]
    if number == 0:
        return value.like(graph.add("PAD", inputs, name, shape))
    return value.like(graph.add("PADV2", [*inputs, graph.number(number)], name, shape))


def _zero_pad(graph: Graph, leaf: nn.ZeroPad2d, node: fx.Node, value: Value) -> Value:
    left, right, top, bottom = leaf.padding
    return _pad(graph, node.name, value, [(top, bottom), (left, right)], 0.0)


def _constant_pad(graph: Graph, leaf: nn.ConstantPad1d, node: fx.Node, value: Value) -> Value:
    return _pad(graph, node.name, value, [(leaf.padding[0], leaf.padding[1])], float(leaf.value))


def _unflatten(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.unflatten(dim, sizes)`, one of which may be -1"""
    shape, (dim, sizes) = value.shape, node.args[1:]
    if not isinstance(dim, int) or not isinstance(sizes, tuple) or dim % len(shape) == 0:
        raise graph.unknown(f"unflatten({dim}, {sizes})", node.name)
    dim, parts = dim % len(shape), [int(str(size)) for size in sizes]
    rest = math.prod(size for size in parts if size != -1)
    return graph.split(value, node.name, dim, [shape[dim] // rest if size == -1 else size for size in parts])


def _flatten(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.flatten(start)` or `x.flatten(start, end)`"""
    rest = node.args[1:]
    if len(rest) not in (1, 2) or not all(isinstance(dim, int) for dim in rest) or node.kwargs or rest[0] == 0:
        raise graph.unknown(f"flatten{rest}", node.name)
    first, last = (int(str(dim)) % len(value.order) for dim in (*rest, -1)[:2])
    return graph.flatten(value, node.name, first, last)


def _transpose(graph: Graph, node: fx.Node, value: Value) -> Value:
    first, second = (int(str(dim)) % len(value.order) for dim in node.args[1:])
    renamed = {first: second, second: first}
    return Value(value.tensor, tuple(renamed.get(axis, axis) for axis in value.order))


def _matmul(graph: Graph, node: fx.Node, left: Value) -> Value:
    return _product(graph, node.name, left, graph.operand(node, 1))


def _product(graph: Graph, name: str, left: Value, right: Value) -> Value:
    """Of matrices. One that lies transposed is taken as it is on the right: there every runtime knows it."""
    rank = len(left.order)
    turned = (*range(rank - 2), rank - 1, rank - 2)
    adjoint = right.order == turned
    x = graph.plain(left, name)
    y = right.tensor if adjoint else graph.plain(right, name)
    shape = (*left.shape[:-1], right.shape[-1])
    if rank > _MATMUL_AXES:
        outer = math.prod(shape[:-2])
        x, y = (
            graph.reshape(part, f"{name}.{side}", (outer, *part.shape[-2:]))
            for side, part in (("left", x), ("right", y))
        )
        product = graph.add("BATCH_MATMUL", [x, y], f"{name}.joined", (outer, *shape[-2:]), adjX=False, adjY=adjoint)
        return of_plain(graph.reshape(product, name, shape))
    return of_plain(graph.add("BATCH_MATMUL", [x, y], name, shape, adjX=False, adjY=adjoint))


def _attention(graph: Graph, node: fx.Node, query: Value) -> Value:
    """Softmax attention as its two products."""
    if node.kwargs or len(node.args) != 3:
        raise graph.unknown("attention with a mask, dropout or scale", node.name)
    key, value, name = graph.operand(node, 1), graph.operand(node, 2), node.name
    scale = graph.number(float(key.shape[-1] ** -0.5))
    x = graph.add("MUL", [query.tensor, scale], f"{name}.query", query.tensor.shape, fusedActivationFunction=0)
    rank = len(key.order)
    renamed = {rank - 1: rank - 2, rank - 2: rank - 1}
    turned = Value(graph.plain(key, f"{name}.key"), tuple(renamed.get(axis, axis) for axis in range(rank)))
    scores = _product(graph, f"{name}.scores", query.like(x), turned)
    weights = graph.add("SOFTMAX", [scores.tensor], f"{name}.weights", scores.tensor.shape, beta=1.0)
    return _product(graph, name, of_plain(weights), value)


def _item(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x[:, number]`, `x[:, :, first:last]` and the like; the second of what `topk` gives"""
    index, source = node.args[1], node.args[0]
    if isinstance(source, fx.Node) and source.target == "topk" and index == 1:
        return value
    entries = index if isinstance(index, tuple) else (index,)
    numbers = [axis for axis, entry in enumerate(entries) if isinstance(entry, int)]
    slices = [axis for axis, entry in enumerate(entries) if isinstance(entry, slice) and entry != slice(None)]
    known = len(numbers) + len(slices) + sum(entry == slice(None) for entry in entries) == len(entries)
    if not known or entries[0] != slice(None) or len(numbers) + len(slices) != 1:
        raise graph.unknown(f"[{index}]", node.name)
    (axis,), side = numbers or slices, value.shape[(numbers or slices)[0]]
    entry = entries[axis]
    if isinstance(entry, int):
        first, last, step = entry % side, entry % side + 1, 1
    else:
        first, last, step = entry.indices(side)  # type: ignore[union-attr,call-arg]
    if step != 1:
        raise graph.unknown(f"[{index}]", node.name)
    place, shape = value.order.index(axis), value.tensor.shape
    sides = (*shape[:place], last - first, *shape[place + 1 :])
    begin = graph.numbers([first if i == place else 0 for i in range(len(shape))])
    size = graph.numbers(sides)
    part = graph.add("SLICE", [value.tensor, begin, size], f"{node.name}.part" if numbers else node.name, sides)
    if not numbers:
        return value.like(part)
    order = tuple(old - (old > axis) for old in value.order if old != axis)
    return Value(graph.reshape(part, node.name, (*shape[:place], *shape[place + 1 :])), order)


def _mean(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.mean(dim=1)`, `x.mean(dim=(1, 2))`"""
    dims, rank = node.kwargs.get("dim"), len(value.order)
    dims = dims if isinstance(dims, tuple) else (dims,)
    if node.args[1:] or len(node.kwargs) != 1 or not all(isinstance(dim, int) and 0 < dim < rank for dim in dims):
        raise graph.unknown(f"mean{(*node.args[1:], dict(node.kwargs))}", node.name)
    axes = sorted(int(str(dim)) for dim in dims)
    places = [place for place, axis in enumerate(value.order) if axis in axes]
    left = [place for place in range(rank) if place not in places]
    inputs = [value.tensor, graph.numbers(places)]
    y = graph.add("MEAN", inputs, node.name, tuple(value.tensor.shape[place] for place in left), keepDims=False)
    return Value(y, tuple(value.order[place] - sum(axis < value.order[place] for axis in axes) for place in left))


def _sum(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.sum(dim=-2, keepdim=True)`"""
    if node.args[1:] or dict(node.kwargs) != {"dim": -2, "keepdim": True}:
        raise graph.unknown(f"sum{(*node.args[1:], dict(node.kwargs))}", node.name)
    place = value.order.index(len(value.order) - 2)
    shape = tuple(1 if i == place else side for i, side in enumerate(value.tensor.shape))
    inputs = [value.tensor, graph.numbers([place])]
    return value.like(graph.add("SUM", inputs, node.name, shape, keepDims=True))


def _softmax(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.softmax(dim=-1)`"""
    if node.args[1:] or dict(node.kwargs) != {"dim": -1}:
        raise graph.unknown(f"softmax{(*node.args[1:], dict(node.kwargs))}", node.name)
    value = graph.last_is_last(value, node.name)
    return value.like(graph.add("SOFTMAX", [value.tensor], node.name, value.tensor.shape, beta=1.0))


def _topk(graph: Graph, node: fx.Node, value: Value) -> Value:
    """The numbers of the largest, `x.topk(num, dim=1)[1]`"""
    if len(node.args) != 2 or dict(node.kwargs) != {"dim": 1} or len(value.order) != 2:
        raise graph.unknown(f"topk{(*node.args[1:], dict(node.kwargs))}", node.name)
    x, num = graph.plain(value, node.name), int(str(node.args[1]))
    shape = (x.shape[0], num)
    best, numbers = TFLiteTensor(f"{node.name}.values", shape), TFLiteTensor(node.name, shape, dtype="int32")
    graph.add_operator(TFLiteOperator("TOPK_V2", [x, graph.numbers(num)], [best, numbers]))
    return of_plain(numbers)


def _unsqueeze(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`numbers.unsqueeze(-1)` for `expand`"""
    if node.args[1:] != (-1,) or node.kwargs or {user.target for user in node.users} != {"expand"}:
        raise graph.unknown(f"unsqueeze{node.args[1:]}", node.name)
    return value


def _expand(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`numbers.expand(-1, -1, features)` for `gather`, which takes them as they were"""
    users = {user.target for user in node.users}
    if users != {"gather"} or node.args[1:3] != (-1, -1) or len(value.order) != 2:
        raise graph.unknown(f"expand{node.args[1:]}", node.name)
    return value


def _size(graph: Graph, node: fx.Node, value: Value) -> Value:
    """`x.size(2)` for `expand`"""
    if {user.target for user in node.users} != {"expand"}:
        raise graph.unknown("size", node.name)
    return value


def _gather(graph: Graph, node: fx.Node, value: Value) -> Value:
    """The tokens of these numbers, `x.gather(1, numbers.unsqueeze(-1).expand(-1, -1, x.size(2)))`"""
    expanded = node.args[2]
    if len(value.order) != 3 or node.args[1] != 1 or not isinstance(expanded, fx.Node) or expanded.target != "expand":
        raise graph.unknown(f"gather of {value.shape}", node.name)
    numbers, x = graph.operand(node, 2).tensor, graph.plain(value, node.name)
    shape = (x.shape[0], numbers.shape[1], x.shape[2])
    return of_plain(graph.add("GATHER", [x, numbers], node.name, shape, axis=1, batchDims=1))


def _cat(graph: Graph, node: fx.Node, parts: list[Value]) -> Value:
    """`torch.cat([...], dim=dim)`"""
    dim, first = node.kwargs.get("dim"), parts[0]
    if len(node.args) != 1 or not isinstance(dim, int) or not 0 < dim < len(first.order):
        raise graph.unknown(f"cat along {dim}", node.name)
    place = first.order.index(dim)
    tensors = [graph.in_order(part, first.order, node.name) for part in parts]
    side, shape = sum(tensor.shape[place] for tensor in tensors), first.tensor.shape
    shape = (*shape[:place], side, *shape[place + 1 :])
    return first.like(graph.add("CONCATENATION", tensors, node.name, shape, axis=place, fusedActivationFunction=0))


TOKEN_LEAVES: dict[type[nn.Module], Callable[[Graph, Any, fx.Node, Value], Value]] = {
    nn.LayerNorm: _layer_norm,
    nn.GELU: _gelu,
    nn.ZeroPad2d: _zero_pad,
    nn.ConstantPad1d: _constant_pad,
}

#: functions and methods by name
CALLS: dict[str, Callable[[Graph, fx.Node, Value], Value]] = {
    "unflatten": _unflatten,
    "flatten": _flatten,
    "transpose": _transpose,
    "scaled_dot_product_attention": _attention,
    "getitem": _item,
    "mean": _mean,
    "matmul": _matmul,
    "sum": _sum,
    "softmax": _softmax,
    "unsqueeze": _unsqueeze,
    "topk": _topk,
    "gather": _gather,
    "expand": _expand,
    "size": _size,
}

#: functions of a list of tensors
JOINS: dict[str, Callable[[Graph, fx.Node, list[Value]], Value]] = {"cat": _cat}
