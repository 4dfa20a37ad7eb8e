"""ExecuTorch programs for XNNPACK, lowered in a third of the usual time.

`to_edge_transform_and_lower` takes a second for the smallest graph, most of it for tables of all operators that torch
knows, none of which the graph has. A table of latencies has hundreds of such graphs. What is left out here changes no
byte of the program (a test compares): https://docs.pytorch.org/executorch/stable/using-executorch-export.html
"""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from torch import Tensor, fx
from torch.export import ExportedProgram, exported_program
from torch.fx import traceback

from latency_tables.executorch.graph import pools_as_means


def as_fed(x: Tensor) -> Tensor:
    """`x` as a program takes it: images channels-last, which XNNPACK computes in, so that nothing is transposed."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


def export(network: fx.GraphModule, x: Tensor) -> fx.GraphModule:
    """The ATen graph of `network` for inputs like `x`."""
    exported = torch.export.export(network, (x,), strict=False).module(check_guards=False)
    assert isinstance(exported, fx.GraphModule)
    return exported


def to_pte(graph: fx.GraphModule, x: Tensor, constants: Mapping[str, object] | None = None) -> bytes:
    """The `.pte` file of an ATen graph for inputs like `x`; `constants` are what its further methods return."""
    pools_as_means(graph)
    exported = torch.export.export(graph, (x,), strict=False)
    with _only_what_occurs(exported), _no_provenance(), _no_collection():
        edge = to_edge_transform_and_lower(
            exported,
            partitioner=[_Partitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
            constant_methods=dict(constants or {}),
        )
        return bytes(edge.to_executorch().buffer)


class _Partitioner(XnnpackPartitioner):
    """Decides at once which operators stay whole, where ExecuTorch decomposes the graph three times to find out."""

    def ops_to_not_decompose(
        self, program: ExportedProgram
    ) -> tuple[list[torch._ops.OpOverload], Callable[[fx.Node], bool] | None]:
        operators, supported = super().ops_to_not_decompose(program)
        if supported is None:
            return operators, None
        refused = {node.target for node in program.graph.nodes if node.op == "call_function" and not supported(node)}
        return [operator for operator in operators if operator not in refused], None


@contextlib.contextmanager
def _only_what_occurs(program: ExportedProgram) -> Iterator[None]:
    """Inside the block torch prepares the keeping of those composite operators only that the graph has.

    It would install rules for some hundred others, and find out which these are, at each of several decompositions.
    These are private names of torch: where a version has others nothing is changed, and lowering is slow.
    """
    names = (
        "_split_decomp_table_to_cia_and_python_decomp",
        "_special_op_to_preserve_cia",
        "_collect_all_valid_cia_ops",
    )
    if not all(hasattr(exported_program, name) for name in names):
        yield
        return
    split, keep = (getattr(exported_program, name) for name in names[:2])
    occurring = {node.target for node in program.graph.nodes if node.op == "call_function"}

    def split_those(table: dict[Any, Any]) -> tuple[dict[Any, Any], dict[Any, Any]]:
        composite, others = split(table)
        return {op: rule for op, rule in composite.items() if rule is not keep or op in occurring}, others

    with (
        mock.patch.object(exported_program, names[0], split_those),
        mock.patch.object(exported_program, names[2], _composite_operators),
    ):
        yield


@cache
def _composite_operators() -> frozenset[Any]:
    from torch._export.utils import _collect_all_valid_cia_ops

    return frozenset(_collect_all_valid_cia_ops())


@contextlib.contextmanager
def _no_provenance() -> Iterator[None]:
    """Inside the block a node remembers the one it came from and the first of all, whose number the program holds:
    every pass would copy the whole history of every node. A private name, as above.
    """
    if not hasattr(traceback, "copy"):
        yield
        return
    with mock.patch.object(traceback, "copy", SimpleNamespace(copy=copy.copy, deepcopy=_origin)):
        yield


def _origin(history: list[traceback.NodeSource]) -> list[traceback.NodeSource]:
    while history and history[-1].from_node:
        history = history[-1].from_node
    return history[-1:]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Lowering makes millions of small objects that reference counting frees: looking for cycles is a fifth of it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
