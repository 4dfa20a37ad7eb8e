"""Translations of what transformers are made of: layers on tokens, and the functions and methods between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from latency_tables.onnx.graph import Graph, Shape


def linear_of_tokens(graph: Graph, leaf: nn.Linear, node: fx.Node, x: str) -> str:
    shape = (*graph.shapes[x][:-1], leaf.out_features)
    product = [x, graph.weight(f"{node.target}.weight.transposed", leaf.weight.t())]
    bias: Tensor | None = leaf.bias
    if bias is None:
        return graph.add("MatMul", product, node.name, shape)
    y = graph.add("MatMul", product, f"{node.name}.product", shape)
    return graph.add("Add", [y, graph.weight(f"{node.target}.bias", bias)], node.name, shape)


def _layer_norm(graph: Graph, leaf: nn.LayerNorm, node: fx.Node, x: str) -> str:
    names = [graph.weight(f"{node.target}.{part}", getattr(leaf, part)) for part in ("weight", "bias")]
    return graph.add("LayerNormalization", [x, *names], node.name, graph.shapes[x], epsilon=leaf.eps, axis=-1)


def _gelu(graph: Graph, leaf: nn.GELU, node: fx.Node, x: str) -> str:
    """x (1 + erf(x / sqrt 2)) / 2, the form that runtimes know and fuse."""
    if leaf.approximate != "none":
        raise graph.unknown(f"GELU with approximate={leaf.approximate!r}", str(node.target))
    shape, name = graph.shapes[x], node.name
    root, one, half = (
        graph.weight(f"{name}.{number}", torch.tensor(value))
        for number, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
    )
    y = graph.add("Div", [x, root], f"{name}.divided", shape)
    y = graph.add("Erf", [y], f"{name}.erf", shape)
    y = graph.add("Add", [y, one], f"{name}.added", shape)
    y = graph.add("Mul", [x, y], f"{name}.product", shape)
    return graph.add("Mul", [y, half], name, shape)


def _zero_pad(graph: Graph, leaf: nn.ZeroPad2d, node: fx.Node, x: str) -> str:
    left, right, top, bottom = leaf.padding
    *outer, height, width = graph.shapes[x]
    zeros = [0] * len(outer)
    pads = graph.numbers(f"{node.name}.pads", *zeros, top, left, *zeros, bottom, right)
    return graph.add("Pad", [x, pads], node.name, (*outer, height + top + bottom, width + left + right))


def _reshape(graph: Graph, node: fx.Node, x: str, shape: Shape) -> str:
    sides = graph.numbers(f"{node.name}.shape", *graph.sides(x, shape))
    return graph.add("Reshape", [x, sides], node.name, shape)


def _unflatten(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.unflatten(dim, sizes)`, one of which may be -1"""
    shape, (dim, sizes) = graph.shapes[x], node.args[1:]
    if not isinstance(dim, int) or not isinstance(sizes, tuple) or dim % len(shape) == 0:
        raise graph.unknown(f"unflatten({dim}, {sizes})", node.name)
    dim, parts = dim % len(shape), [int(str(size)) for size in sizes]
    rest = math.prod(size for size in parts if size != -1)
    parts = [shape[dim] // rest if size == -1 else size for size in parts]
    return _reshape(graph, node, x, (*shape[:dim], *parts, *shape[dim + 1 :]))


def _flatten(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.flatten(start)` or `x.flatten(start, end)`"""
    shape, rest = graph.shapes[x], node.args[1:]
    if len(rest) not in (1, 2) or not all(isinstance(dim, int) for dim in rest) or node.kwargs or rest[0] == 0:
        raise graph.unknown(f"flatten{rest}", node.name)
    start, end = (int(str(dim)) % len(shape) for dim in (*rest, -1)[:2])
    return _reshape(graph, node, x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


def _transpose(graph: Graph, node: fx.Node, x: str) -> str:
    order = list(range(len(graph.shapes[x])))
    first, second = (int(str(dim)) % len(order) for dim in node.args[1:])
    order[first], order[second] = order[second], order[first]
    return graph.add("Transpose", [x], node.name, tuple(graph.shapes[x][dim] for dim in order), perm=order)


def _attention(graph: Graph, node: fx.Node, query: str) -> str:
    """Softmax attention as its two products."""
    if node.kwargs or len(node.args) != 3:
        raise graph.unknown("attention with a mask, dropout or scale", node.name)
    key, value, name = graph.operand(node, 1), graph.operand(node, 2), node.name
    *outer, num_keys, width = graph.shapes[key]
    shape = (*graph.shapes[query][:-1], num_keys)
    perm = [*range(len(outer)), len(outer) + 1, len(outer)]
    turned = graph.add("Transpose", [key], f"{name}.key", (*outer, width, num_keys), perm=perm)
    scale = graph.weight(f"{name}.scale", torch.tensor(width**-0.5))
    query = graph.add("Mul", [query, scale], f"{name}.query", graph.shapes[query])
    scores = graph.add("MatMul", [query, turned], f"{name}.scores", shape)
    weights = graph.add("Softmax", [scores], f"{name}.weights", shape, axis=-1)
    return graph.add("MatMul", [weights, value], name, (*shape[:-1], graph.shapes[value][-1]))


def _item(graph: Graph, node: fx.Node, x: str) -> str:
    """`x[:, number]`, `x[:, :, first:last]` and the like; the second of what `topk` gives"""
    index, source = node.args[1], node.args[0]
    if isinstance(source, fx.Node) and source.target == "topk" and index == 1:
        return x
    entries = index if isinstance(index, tuple) else (index,)
    numbers = [axis for axis, entry in enumerate(entries) if isinstance(entry, int)]
    slices = [axis for axis, entry in enumerate(entries) if isinstance(entry, slice) and entry != slice(None)]
    known = len(numbers) + len(slices) + sum(entry == slice(None) for entry in entries) == len(entries)
    if not known or entries[0] != slice(None) or len(numbers) + len(slices) != 1:
        raise graph.unknown(f"[{index}]", node.name)
    (axis,), shape = numbers or slices, graph.shapes[x]
    if numbers:
        place = graph.weight(f"{node.name}.place", torch.tensor(entries[axis], dtype=torch.int64))
        return graph.add("Gather", [x, place], node.name, (*shape[:axis], *shape[axis + 1 :]), axis=axis)
    first, last, step = entries[axis].indices(shape[axis])  # type: ignore[union-attr,call-arg]
    if step != 1:
        raise graph.unknown(f"[{index}]", node.name)
    bounds = [
        graph.numbers(f"{node.name}.{n}", value) for n, value in (("first", first), ("last", last), ("axis", axis))
    ]
    return graph.add("Slice", [x, *bounds], node.name, (*shape[:axis], last - first, *shape[axis + 1 :]))


def _mean(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.mean(dim=1)`, `x.mean(dim=(1, 2))`"""
    dims = node.kwargs.get("dim")
    dims = dims if isinstance(dims, tuple) else (dims,)
    shape = graph.shapes[x]
    if node.args[1:] or len(node.kwargs) != 1 or not all(isinstance(dim, int) and 0 < dim < len(shape) for dim in dims):
        raise graph.unknown(f"mean{(*node.args[1:], dict(node.kwargs))}", node.name)
    axes = [int(str(dim)) for dim in dims]
    left = tuple(side for axis, side in enumerate(shape) if axis not in axes)
    return graph.add("ReduceMean", [x, graph.numbers(f"{node.name}.axes", *axes)], node.name, left, keepdims=0)


def _softmax(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.softmax(dim=-1)`"""
    if node.args[1:] or dict(node.kwargs) != {"dim": -1}:
        raise graph.unknown(f"softmax{(*node.args[1:], dict(node.kwargs))}", node.name)
    return graph.add("Softmax", [x], node.name, graph.shapes[x], axis=-1)


def _unsqueeze(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.unsqueeze(-1)`"""
    if node.args[1:] != (-1,) or node.kwargs:
        raise graph.unknown(f"unsqueeze{node.args[1:]}", node.name)
    axes = graph.numbers(f"{node.name}.axes", -1)
    return graph.add("Unsqueeze", [x, axes], node.name, (*graph.shapes[x], 1))


def _topk(graph: Graph, node: fx.Node, x: str) -> str:
    """The numbers of the largest, `x.topk(num, dim=1)[1]`"""
    if len(node.args) != 2 or dict(node.kwargs) != {"dim": 1} or len(graph.shapes[x]) != 2:
        raise graph.unknown(f"topk{(*node.args[1:], dict(node.kwargs))}", node.name)
    num = int(str(node.args[1]))
    shape = (graph.shapes[x][0], num)
    return graph.add("TopK", [x, graph.numbers(f"{node.name}.num", num)], node.name, shape, first="values", axis=1)


def _gather(graph: Graph, node: fx.Node, x: str) -> str:
    """The tokens of these numbers, `x.gather(1, numbers.expand(-1, -1, x.size(2)))`"""
    numbers, shape = graph.operand(node, 2), graph.shapes[x]
    expanded = node.args[2]
    if len(shape) != 3 or node.args[1] != 1 or not isinstance(expanded, fx.Node) or expanded.target != "expand":
        raise graph.unknown(f"gather of {shape}", node.name)
    shape = (shape[0], graph.shapes[numbers][1], shape[2])
    return graph.add("GatherND", [x, numbers], node.name, shape, batch_dims=1)


def _expand(graph: Graph, node: fx.Node, x: str) -> str:
    """`numbers.expand(-1, -1, features)` for `gather`, which takes them as they were"""
    users = {user.target for user in node.users}
    if users != {"gather"} or node.args[1:3] != (-1, -1) or graph.shapes[x][2:] != (1,):
        raise graph.unknown(f"expand{node.args[1:]}", node.name)
    return x


def _size(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.size(2)` for `expand`"""
    if {user.target for user in node.users} != {"expand"}:
        raise graph.unknown("size", node.name)
    return x


def _cat(graph: Graph, node: fx.Node, parts: list[str]) -> str:
    """`torch.cat([...], dim=dim)`"""
    dim, first = node.kwargs.get("dim"), graph.shapes[parts[0]]
    if len(node.args) != 1 or not isinstance(dim, int) or not 0 < dim < len(first):
        raise graph.unknown(f"cat along {dim}", node.name)
    together = sum(graph.shapes[part][dim] for part in parts)
    return graph.add("Concat", parts, node.name, (*first[:dim], together, *first[dim + 1 :]), axis=dim)


def _matmul(graph: Graph, node: fx.Node, left: str) -> str:
    right = graph.operand(node, 1)
    shape = (*graph.shapes[left][:-1], graph.shapes[right][-1])
    return graph.add("MatMul", [left, right], node.name, shape)


def _sum(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.sum(dim=-2, keepdim=True)`"""
    if node.args[1:] or dict(node.kwargs) != {"dim": -2, "keepdim": True}:
        raise graph.unknown(f"sum{(*node.args[1:], dict(node.kwargs))}", node.name)
    *outer, _, width = graph.shapes[x]
    axes = graph.numbers(f"{node.name}.axes", len(outer))
    return graph.add("ReduceSum", [x, axes], node.name, (*outer, 1, width), keepdims=1)


def _constant_pad(graph: Graph, leaf: nn.ConstantPad1d, node: fx.Node, x: str) -> str:
    left, right = leaf.padding
    *outer, width = graph.shapes[x]
    zeros = [0] * len(outer)
    pads = graph.numbers(f"{node.name}.pads", *zeros, left, *zeros, right)
    value = graph.weight(f"{node.name}.value", torch.tensor(float(leaf.value)))
    return graph.add("Pad", [x, pads, value], node.name, (*outer, width + left + right))


TOKEN_LEAVES: dict[type[nn.Module], Callable[[Graph, Any, fx.Node, str], str]] = {
    nn.LayerNorm: _layer_norm,
    nn.GELU: _gelu,
    nn.ZeroPad2d: _zero_pad,
    nn.ConstantPad1d: _constant_pad,
}

#: functions and methods by name
CALLS: dict[str, Callable[[Graph, fx.Node, str], str]] = {
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
JOINS: dict[str, Callable[[Graph, fx.Node, list[str]], str]] = {"cat": _cat}
