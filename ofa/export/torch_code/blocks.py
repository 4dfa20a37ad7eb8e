"""A network cut into the blocks that its code is made of: what each computes, apart from where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ofa.export.torch_code.functions import function
from ofa.export.torch_code.layers import arguments
from search_spaces.common.errors import UserError


@dataclass(frozen=True)
class Ref:
    """The value of a step by its number; -1 is the input of the block."""

    step: int


@dataclass(frozen=True)
class Step:
    """`kind`: "module" (`target`: its path in the block), "tensor" (likewise), "method" or "function" (the callable).

    In `arguments` and `named`, values of other steps are `Ref`.
    """

    kind: str
    target: Any
    arguments: tuple[Any, ...] = ()
    named: tuple[tuple[str, Any], ...] = ()

    def refs(self) -> Iterator[Ref]:
        yield from _refs((self.arguments, self.named))


@dataclass(frozen=True)
class Block:
    """What takes one tensor and gives one, the value of its last step. `parts`: its layers, blocks and parameters by
    their path in it, in the order in which they are first used.
    """

    name: str
    steps: tuple[Step, ...]
    parts: dict[str, nn.Module | Block | Tensor]


def cut(network: fx.GraphModule) -> list[Block]:
    """The blocks of a network of plain torch layers, in order: one for each of its children.

    Functions belong to the block whose layers come before them. Within blocks, children of their own become blocks
    where they take one value and give one. Raises `UserError` naming a layer or function that cannot be written, and
    for a network whose children are not a chain.
    """
    groups: dict[str, list[fx.Node]] = {}
    current = ""
    for node in network.graph.nodes:
        if node.op in ("placeholder", "output") or not node.users:
            continue
        if node.op in ("call_module", "get_attr") and node.target.split(".")[0] != current:
            current = node.target.split(".")[0]
            if current in groups:
                raise UserError("is used in two places, and cannot be written as one block", key=current)
            groups[current] = []
        if node.op == "call_module":
            arguments(network.get_submodule(str(node.target)), str(node.target))
        elif node.op == "call_function":
            function(node.target, f"{current}.{node.name}")
        if not current:
            raise UserError(f"{node.target} comes before any layer, and is part of no block", key=node.name)
        groups[current].append(node)
    for name, nodes in groups.items():
        if len(_taken(nodes)) != 1 or len(_given(nodes)) != 1:
            raise UserError("takes or gives more than one value, and cannot be written as one block", key=name)
    return [_block(network, name, nodes, f"{name}.") for name, nodes in groups.items()]


def _block(network: fx.GraphModule, name: str, nodes: Sequence[fx.Node], prefix: str) -> Block:
    """`nodes` as a block; the names of its parts begin with `prefix` in the network."""
    (source,) = _taken(nodes)
    numbers: dict[fx.Node, Ref] = {source: Ref(-1)}
    steps: list[Step] = []
    parts: dict[str, nn.Module | Block | Tensor] = {}
    inner = _inner_blocks(network, nodes, prefix)
    for node in nodes:
        own = next((path for path, group in inner.items() if node in group), None)
        if own is not None and node is not inner[own][-1]:
            continue
        if own is not None:
            parts[own] = _block(network, own, inner[own], f"{prefix}{own}.")
            (taken,) = _taken(inner[own])
            steps.append(Step("module", own, (numbers[taken],)))
        elif node.op == "call_module":
            path = str(node.target).removeprefix(prefix)
            parts.setdefault(path, network.get_submodule(str(node.target)))
            steps.append(_step("module", path, node, numbers))
        elif node.op == "get_attr":
            path = str(node.target).removeprefix(prefix)
            parts.setdefault(path, _tensor(network, str(node.target)))
            steps.append(Step("tensor", path))
        else:
            steps.append(_step(node.op.removeprefix("call_"), node.target, node, numbers))
        numbers[node] = Ref(len(steps) - 1)
    return Block(name, tuple(steps), parts)


def _inner_blocks(network: fx.GraphModule, nodes: Sequence[fx.Node], prefix: str) -> dict[str, list[fx.Node]]:
    """The nodes of children that can be blocks of their own, by the child's name."""
    found: dict[str, list[fx.Node]] = {}
    for node in nodes:
        if node.op == "call_module" and "." in (path := str(node.target).removeprefix(prefix)):
            found.setdefault(path.split(".")[0], []).append(node)
    inner = {}
    for name, calls in found.items():
        group = list(nodes)[list(nodes).index(calls[0]) : list(nodes).index(calls[-1]) + 1]
        if group == calls and len(_taken(group)) == 1 and len(_given(group)) == 1 and len(group) > 1:
            inner[name] = group
    return inner


def _step(kind: str, target: Any, node: fx.Node, numbers: dict[fx.Node, Ref]) -> Step:
    def put(value: Any) -> Any:
        return numbers[value] if isinstance(value, fx.Node) else value

    arguments = fx.node.map_aggregate(node.args, put)
    named = fx.node.map_aggregate(dict(node.kwargs), put)
    return Step(kind, target, tuple(arguments), tuple(dict(named).items()))


def _taken(nodes: Sequence[fx.Node]) -> list[fx.Node]:
    inside = set(nodes)
    return list(dict.fromkeys(value for node in nodes for value in node.all_input_nodes if value not in inside))


def _given(nodes: Sequence[fx.Node]) -> list[fx.Node]:
    inside = set(nodes)
    return [node for node in nodes if any(user not in inside for user in node.users)]


def _tensor(network: fx.GraphModule, target: str) -> Tensor:
    path, _, name = target.rpartition(".")
    found = getattr(network.get_submodule(path), name)
    assert isinstance(found, Tensor)
    return found


def _refs(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _refs(part)
    elif isinstance(value, slice):
        yield from _refs((value.start, value.stop, value.step))
