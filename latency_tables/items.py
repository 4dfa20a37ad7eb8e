"""What is timed for a table: operators, an empty call, whole networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import fx, nn

from search_spaces import Architecture, SearchSpace
from search_spaces.operators import Operator
from search_spaces.plain import build_network, build_operator, initialize

#: the item that does nothing: what a call costs by itself
EMPTY_CALL = "empty call"


@dataclass(frozen=True)
class Item:
    """Something to time: how to build it, its input (C, H, W), and roughly the bytes it holds when prepared."""

    build: Callable[[], fx.GraphModule]
    input_shape: tuple[int, ...]
    num_bytes: float = 0.0
    macs: float = 0.0


def operator_items(space: SearchSpace) -> dict[str, Item]:
    """Every operator of the space by its key, and the empty call."""

    def item(operator: Operator) -> Item:
        num_bytes = _held_bytes(float(operator.params()), float(operator.peak_memory("float32")))
        return Item(lambda: build_operator(operator), operator.input_shape, num_bytes, float(operator.macs()))

    empty = Item(lambda: fx.symbolic_trace(nn.Identity()), (1, 1, 1))
    return {EMPTY_CALL: empty} | {key: item(operator) for key, operator in space.operators().items()}


def network_items(space: SearchSpace, architectures: Sequence[Architecture]) -> dict[str, Item]:
    """Whole networks by `network_key`."""
    rows = space.encode(architectures)
    params, memory = space.cost("params").evaluate(rows), space.cost("peak_memory").evaluate(rows)

    def item(index: int, architecture: Architecture) -> Item:
        shape = (space.in_channels, architecture.resolution, architecture.resolution)
        held = _held_bytes(params[index], memory[index])
        return Item(lambda: quick_network(space, architecture), shape, held)

    return {network_key(space, architecture): item(i, architecture) for i, architecture in enumerate(architectures)}


def quick_network(space: SearchSpace, architecture: Architecture) -> fx.GraphModule:
    """A network to be timed. Weights are drawn for its layers, not for its blocks: a transformer's truncated normal
    distributions take longer to draw than the network to run.
    """
    network = build_network(space, architecture, init=False)
    initialize(network)
    return network


def typical_length(space: SearchSpace, architectures: Sequence[Architecture]) -> int:
    """Operators of a network, in the median: as many are timed in a group."""
    return int(np.median([len(space.network(architecture)) for architecture in architectures]))


def network_key(space: SearchSpace, architecture: Architecture) -> str:
    return f"network {space.fingerprint} {architecture.key}"


def choose_sentinels(operators: Mapping[str, Item]) -> list[str]:
    """Three operators, from a middling one to the largest, whose times tell how fast the machine is."""
    by_size = sorted((key for key in operators if key != EMPTY_CALL), key=lambda key: (operators[key].macs, key))
    return [by_size[int(share * (len(by_size) - 1))] for share in (0.5, 0.8, 1.0)] if by_size else []


def _held_bytes(params: float, peak_memory: float) -> float:
    """The weights given and as the runtime packs them, its buffers, and what a session needs besides."""
    return 3 * 4 * params + 2 * peak_memory + 2**20
