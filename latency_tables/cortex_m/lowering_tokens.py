"""Translations of what transformers are made of: layer norm, softmax attention, and the moves between forms of a map.

A map of tokens (1, tokens, features) lies in memory as an image (height, width, features) does, and heads are runs of
its features. So the moves that torch needs between these forms take nothing: `forms` keeps which one a value has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, fx, nn

from latency_tables.cortex_m.calls import AddConstant, Attention, GlobalAverage, LayerNorm
from latency_tables.cortex_m.calls.tokens import MOST
from latency_tables.cortex_m.lowering_linear_attention import linear_attention
from latency_tables.cortex_m.quantization import Affine

if TYPE_CHECKING:
    from latency_tables.cortex_m.lowering import Lowering

#: (from, method, arguments) -> to: images, images flattened (C, N), tokens (N, C), split into heads (N, H, C), by head
_MOVES: dict[tuple[str, str, tuple[int, ...]], str] = {
    ("image", "flatten", (2,)): "flat",
    ("flat", "transpose", (1, 2)): "tokens",
    ("tokens", "transpose", (1, 2)): "flat",
    ("split", "transpose", (1, 2)): "heads",
    ("heads", "transpose", (1, 2)): "split",
    ("split", "flatten", (2,)): "tokens",
}


def layer_norm(lowering: Lowering, leaf: nn.LayerNorm, node: fx.Node, x: str) -> None:
    shape = lowering.shapes[x]
    if lowering.form(node.args[0]) != "tokens" or leaf.normalized_shape != (shape[2],) or shape[2] > MOST:
        raise lowering.unknown(f"LayerNorm({leaf.extra_repr()}) of {shape}", str(node.target))
    ones = np.ones(shape[2])
    scale = ones if leaf.weight is None else leaf.weight.detach().double().numpy()
    shift = 0 * ones if leaf.bias is None else leaf.bias.detach().double().numpy()
    before, after = lowering.affine[x], lowering.of(node)
    lowering.name(node, shape, after, form="tokens")
    ends: dict[str, Any] = {"before": before, "after": after, "eps": leaf.eps}
    call = LayerNorm(inputs=(x,), output=node.name, tokens=shape[1], scale=scale, shift=shift, **ends)
    lowering.calls.append(call)


def add_constant(lowering: Lowering, node: fx.Node, x: str, tensor: Tensor) -> None:
    """Places of tokens."""
    shape, values = lowering.shapes[x], tensor.detach().double().numpy()
    form = lowering.form(node.args[0])
    if form != "tokens" or values.shape != shape[1:]:
        raise lowering.unknown(f"a sum of {shape} and a constant {values.shape}", node.name)
    second = Affine.of_range(float(values.min()), float(values.max()))
    act, to = lowering.finished(node, shape, form=form)
    ends: dict[str, Any] = {"low": act.low, "high": act.high, "table": act.table, "after": to}
    terms: dict[str, Any] = {"first": lowering.affine[x], "second": second, "constant": second.quantize(values)}
    lowering.calls.append(AddConstant(inputs=(x,), output=act.node.name, shape=shape, **terms, **ends))


def move(lowering: Lowering, node: fx.Node, x: str) -> None:
    """`flatten`, `transpose`"""
    arguments = tuple(int(str(argument)) for argument in node.args[1:])
    before, source = lowering.form(node.args[0]), node.args[0]
    if before == "heads" and node.target == "transpose" and arguments == (-2, -1):
        linear_attention(lowering, node)
        return
    after = _MOVES.get((before, str(node.target), arguments))
    if after is None or node.kwargs or not isinstance(source, fx.Node):
        raise lowering.unknown(f"{node.target}{arguments} of {before}", node.name)
    if after == "flat":
        _reshape(lowering, node, x, width=math.prod(lowering.shapes[x][:2]))
    lowering.rename(node, x, after)


def _reshape(lowering: Lowering, node: fx.Node, x: str, *, width: int) -> None:
    """The same bytes with other sides, which who else reads the map would find changed."""
    if any(len(each.users) > 1 for each, name in lowering.values.items() if name == x):
        raise lowering.unknown("a map that is read as tokens and as an image", node.name)
    height, width_before, features = lowering.shapes[x]
    lowering.shapes[x] = (height * width_before // width, width, features)


def unflatten(lowering: Lowering, node: fx.Node, x: str) -> None:
    """`x.unflatten(-1, (-1, features))`: heads; of flattened images `x.unflatten(2, (-1, width))`: images"""
    sizes, source = node.args[2] if len(node.args) == 3 else None, node.args[0]
    if lowering.form(source) == "flat" and isinstance(sizes, tuple):
        width = int(str(sizes[-1]))
        if node.args[1] != 2 or sizes != (-1, width) or lowering.shapes[x][1] % width:
            raise lowering.unknown(f"unflatten{node.args[1:]}", node.name)
        _reshape(lowering, node, x, width=width)
        lowering.rename(node, x, "image")
        return
    if lowering.form(source) != "tokens" or node.args[1] != -1 or not isinstance(sizes, tuple) or len(sizes) != 2:
        raise lowering.unknown(f"unflatten{node.args[1:]}", node.name)
    features = int(str(sizes[1]))
    if sizes[0] != -1 or lowering.shapes[x][2] % features:
        raise lowering.unknown(f"unflatten{node.args[1:]}", node.name)
    lowering.rename(node, x, "split")
    lowering.head_features[x] = features


def attention(lowering: Lowering, node: fx.Node, query: str) -> None:
    """`F.scaled_dot_product_attention(query, key, value)`"""
    if node.kwargs or len(node.args) != 3 or {lowering.form(part) for part in node.args} != {"heads"}:
        raise lowering.unknown("attention with a mask, dropout or scale", node.name)
    names = [query, lowering.operand(node, 1), lowering.operand(node, 2)]
    shape, features = lowering.shapes[query], lowering.head_features[query]
    same = all(lowering.shapes[name] == shape and lowering.head_features[name] == features for name in names)
    if not same or shape[1] > MOST or features % 4:
        raise lowering.unknown(f"attention of {shape[1]} tokens with heads of {features} features", node.name)
    after = lowering.of(node)
    lowering.name(node, shape, after, form="heads")
    lowering.head_features[node.name] = features
    ends = dict(zip(("query", "key", "value"), (lowering.affine[name] for name in names), strict=True))
    sizes = {"tokens": shape[1], "heads": shape[2] // features, "features": features}
    lowering.calls.append(Attention(inputs=tuple(names), output=node.name, **sizes, **ends, after=after))  # type: ignore[arg-type]


def mean(lowering: Lowering, node: fx.Node, x: str) -> None:
    """`x.mean(dim=1)` of tokens"""
    if lowering.form(node.args[0]) != "tokens" or len(node.args) != 1 or dict(node.kwargs) != {"dim": 1}:
        raise lowering.unknown(f"mean{(*node.args[1:], dict(node.kwargs))}", node.name)
    shape, before, after = lowering.shapes[x], lowering.affine[x], lowering.of(node)
    lowering.name(node, (1, 1, shape[2]), after)
    lowering.calls.append(GlobalAverage(inputs=(x,), output=node.name, shape=shape, before=before, after=after))


#: functions and methods by name
CALLS: dict[str, Callable[[Lowering, fx.Node, str], None]] = {
    "flatten": move,
    "transpose": move,
    "unflatten": unflatten,
    "scaled_dot_product_attention": attention,
    "mean": mean,
}
