"""Networks from templates: what networks have in common is traced once, since tracing takes tens of milliseconds.

A template of an operator is its traced plain module without data (on the meta device). A network is assembled from
clones of such modules, each with tensors of its own, under a graph that all networks of the same structure share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from search_spaces.operators import Operator
from search_spaces.plain.blocks import PLAIN
from search_spaces.plain.network import trace

_structures: dict[tuple[Any, ...], fx.GraphModule] = {}

#: fields of operators that change the sizes of layers but not which layers there are; zero means: none
_SIZES = ("in_channels", "out_channels", "mid_channels", "kernel_size", "se_channels", "patch", "heads", "rank")


def operator_template(operator: Operator) -> fx.GraphModule:
    """The traced plain module of an operator, without data. Not to be changed: everyone gets the same one."""
    return _traced(at_any_resolution(operator))


@lru_cache(maxsize=65536)
def at_any_resolution(operator: Operator) -> Operator:
    """Equal for operators that are the same layers on images of other sizes."""
    return replace(operator, resolution=1) if operator.fits_any_resolution else operator


@lru_cache(maxsize=4096)
def _traced(operator: Operator) -> fx.GraphModule:
    with torch.device("meta"):
        return trace(PLAIN[type(operator)](operator))


def clone_block(operator: Operator, tensors: Mapping[str, Tensor], *, training: bool) -> fx.GraphModule:
    """The plain module of an operator with these parameters and buffers (not copied)."""
    block = _clone(operator_template(operator), "", tensors, training=training)
    assert isinstance(block, fx.GraphModule)
    return block


def container(block: fx.GraphModule) -> nn.Module:
    """The layers of a block as a part of a larger network, whose own graph says how they are run."""
    module = nn.Module()
    module._modules, module._parameters = block._modules, block._parameters
    module.training = block.training
    return module


def assemble(network: Sequence[tuple[str, Operator]], blocks: Mapping[str, nn.Module]) -> fx.GraphModule:
    """A network of these containers, by slot name. Its graph object is shared: copy the network before changing it."""
    result = _shallow(_structure(network))
    result.__dict__["_modules"] = dict(blocks)
    result.training = all(block.training for block in blocks.values())
    assert isinstance(result, fx.GraphModule)
    return result


def _structure(network: Sequence[tuple[str, Operator]]) -> fx.GraphModule:
    """A traced network without data, of the same structure as `network` but perhaps other sizes."""
    signature = tuple((name, _signature(operator)) for name, operator in network)
    if signature not in _structures:
        if len(_structures) >= 64:  # half a megabyte each; blocks of several forms make most networks one of their own
            _structures.clear()
        root = nn.Sequential()
        with torch.device("meta"):
            for name, operator in network:
                root.add_module(name, PLAIN[type(operator)](operator))
            _structures[signature] = trace(root)
    return _structures[signature]


def with_own_graph(network: fx.GraphModule) -> fx.GraphModule:
    """The same network, its graph now free to be changed."""
    graph = fx.Graph(owning_module=network)
    graph.output(graph.graph_copy(network.graph, {}))
    network.__dict__["_graph"] = graph
    return network


@lru_cache(maxsize=65536)
def _signature(operator: Operator) -> tuple[Any, ...]:
    """Equal for operators with the same layers, whatever their sizes."""
    values: list[Any] = [operator.kind]
    for field in fields(operator):
        value = getattr(operator, field.name)
        if field.name != "resolution" or not operator.fits_any_resolution:
            values.append(bool(value) if field.name in _SIZES else value)
    return tuple(values)


def _clone(module: nn.Module, path: str, tensors: Mapping[str, Tensor], *, training: bool) -> nn.Module:
    result = _shallow(module)
    own = result.__dict__  # nn.Module's setters would look at every value again
    own["training"] = training
    own["_modules"] = {
        name: None if child is None else _clone(child, f"{path}{name}.", tensors, training=training)
        for name, child in module._modules.items()
    }
    own["_parameters"] = {
        name: None if old is None else nn.Parameter(tensors[path + name]) for name, old in module._parameters.items()
    }
    own["_buffers"] = {
        name: None if old is None else tensors[path + name] if path + name in tensors else _zero(old)
        for name, old in module._buffers.items()
    }
    return result


def _zero(buffer: Tensor) -> Tensor:
    """Counters of batches: the only buffers that no one gives."""
    return torch.zeros(buffer.shape, dtype=buffer.dtype)


def _shallow(module: nn.Module) -> nn.Module:
    """A module with the same attributes; dictionaries and sets (of hooks, of names) are its own.

    A new `GraphModule` would compile its code anew; this one inherits the code compiled already.
    """
    result: nn.Module
    if isinstance(module, fx.GraphModule):  # makes a class for each of its objects, since its code belongs to the class
        result = fx.GraphModule.__new__(fx.GraphModule)
        type(result).forward = type(module).forward
    else:
        result = object.__new__(type(module))
    for name, value in module.__dict__.items():
        result.__dict__[name] = value.copy() if isinstance(value, (dict, set)) else value
    return result
