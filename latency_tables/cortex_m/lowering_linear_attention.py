"""Linear attention as torch has it: several products, a sum and a quotient, which are one kernel.

    context = key^T @ value;  query / (query @ key.sum(dim=-2, keepdim=True)^T + eps) @ context

of query and key behind a ReLU, in heads (see `lowering_tokens`).
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch
from torch import fx, nn

from latency_tables.cortex_m.calls import LinearAttention
from latency_tables.cortex_m.calls.linear_attention import MOST_FEATURES
from latency_tables.cortex_m.calls.tokens import MOST

if TYPE_CHECKING:
    from latency_tables.cortex_m.lowering import Lowering

_PRODUCTS = (torch.matmul, operator.matmul)
_QUOTIENTS = (operator.truediv, torch.div)
_SUMS = (operator.add, torch.add)


def linear_attention(lowering: Lowering, key_T: fx.Node) -> None:
    """From the first value that belongs to it alone. Raises `UserError` where it is anything else."""
    found = _parts(key_T)
    if found is None:
        raise lowering.unknown("transpose(-2, -1) of heads", key_T.name)
    query, value, inner, out = found
    key = key_T.args[0]
    nodes = [query, key, value]
    positive = all(isinstance(_leaf(lowering, node), (nn.ReLU, nn.ReLU6)) for node in (query, key))
    if {lowering.form(node) for node in nodes} != {"heads"} or not positive:
        raise lowering.unknown("linear attention without ReLU, or not of heads", out.name)
    names = [lowering.values[node] for node in nodes if isinstance(node, fx.Node)]
    shape, features = lowering.shapes[names[0]], lowering.head_features[names[0]]
    same = all(lowering.shapes[name] == shape and lowering.head_features[name] == features for name in names)
    if not same or shape[1] > MOST or features % 4 or features > MOST_FEATURES:
        what = f"linear attention of {shape[1]} tokens with heads of {features} features"
        raise lowering.unknown(what, out.name)
    for node in inner:
        lowering.rename(node, names[1], "inside linear attention")
    after = lowering.of(out)
    lowering.name(out, shape, after, form="heads")
    lowering.head_features[out.name] = features
    query_end, key_end, value_end = (lowering.affine[name] for name in names)
    call = LinearAttention(
        inputs=tuple(names),
        output=out.name,
        tokens=shape[1],
        heads=shape[2] // features,
        features=features,
        query=query_end,
        key=key_end,
        value=value_end,
        after=after,
    )
    lowering.calls.append(call)


def _parts(key_T: fx.Node) -> tuple[fx.Node, fx.Node, list[fx.Node], fx.Node] | None:
    """Query, value, all values in between, and what comes out; None if these are not the operations named above."""
    key = key_T.args[0]
    others = [node for node in key.users if node is not key_T] if isinstance(key, fx.Node) else []
    total, context = others[0] if len(others) == 1 else None, _only_user(key_T)
    total_T = _only_user(total)
    product = _only_user(total_T)
    more = _only_user(product)
    weights = _only_user(more)
    out = _only_user(weights)
    if not (total and context and total_T and product and more and weights and out):
        return None
    query, value = product.args[0], context.args[1]
    as_said = (
        _is(context, _PRODUCTS, key_T, value)
        and _is(total, ("sum",), key)
        and dict(total.kwargs) == {"dim": -2, "keepdim": True}
        and _is(total_T, ("transpose",), total, -2, -1)
        and _is(product, _PRODUCTS, query, total_T)
        and more.target in _SUMS
        and more.args[0] is product
        and isinstance(more.args[1], float)
        and _is(weights, _QUOTIENTS, query, more)
        and _is(out, _PRODUCTS, weights, context)
        and len(context.users) == 1
    )
    if not as_said or not isinstance(query, fx.Node) or not isinstance(value, fx.Node):
        return None
    return query, value, [key_T, context, total, total_T, product, more, weights], out


def _is(node: fx.Node, targets: tuple[object, ...], *args: object) -> bool:
    return node.target in targets and node.args == args


def _only_user(node: fx.Node | None) -> fx.Node | None:
    users = [] if node is None else list(node.users)
    return users[0] if len(users) == 1 else None


def _leaf(lowering: Lowering, node: object) -> nn.Module | None:
    """The layer whose value `node` is in another form."""
    while isinstance(node, fx.Node) and node.op == "call_method" and node.target in ("unflatten", "transpose"):
        node = node.args[0]
    return lowering.leaves.get(str(node.target)) if isinstance(node, fx.Node) and node.op == "call_module" else None
