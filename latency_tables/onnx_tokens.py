"""Translations of what transformers are made of: layers on tokens, and the functions and methods between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from latency_tables.onnx_graph import Graph, Shape


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
    """`x.unflatten(-1, (-1, size))`"""
    *outer, features = graph.shapes[x]
    dim, parts = node.args[1:]
    if dim not in (-1, len(outer)) or not isinstance(parts, tuple) or len(parts) != 2 or parts[0] != -1:
        raise graph.unknown(f"unflatten({dim}, {parts})", node.name)
    size = int(str(parts[1]))
    return _reshape(graph, node, x, (*outer, features // size, size))


def _flatten(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.flatten(start)`"""
    shape, rest = graph.shapes[x], node.args[1:]
    if len(rest) != 1 or not isinstance(rest[0], int) or node.kwargs:
        raise graph.unknown(f"flatten{rest}", node.name)
    return _reshape(graph, node, x, (*shape[: rest[0]], math.prod(shape[rest[0] :])))


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
    """`x[:, number]`"""
    index = node.args[1]
    if not (isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and isinstance(index[1], int)):
        raise graph.unknown(f"[{index}]", node.name)
    place = graph.weight(f"{node.name}.place", torch.tensor(index[1], dtype=torch.int64))
    return graph.add("Gather", [x, place], node.name, (graph.shapes[x][0], *graph.shapes[x][2:]), axis=1)


def _mean(graph: Graph, node: fx.Node, x: str) -> str:
    """`x.mean(dim=1)`"""
    if node.args[1:] or dict(node.kwargs) != {"dim": 1}:
        raise graph.unknown(f"mean{(*node.args[1:], dict(node.kwargs))}", node.name)
    axes = graph.numbers(f"{node.name}.axes", 1)
    return graph.add("ReduceMean", [x, axes], node.name, (graph.shapes[x][0], *graph.shapes[x][2:]), keepdims=0)


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


TOKEN_LEAVES: dict[type[nn.Module], Callable[[Graph, Any, fx.Node, str], str]] = {
    nn.LayerNorm: _layer_norm,
    nn.GELU: _gelu,
    nn.ZeroPad2d: _zero_pad,
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
}
