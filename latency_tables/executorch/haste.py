"""Work that ExecuTorch's lowering does for nothing, left out: no byte of the program changes (a test compares).

`to_edge_transform_and_lower` takes two seconds for the smallest graph and twenty for a small transformer. These are
private names of torch and ExecuTorch. Where a version lacks one that is looked up here nothing is changed, and lowering
is slow; those that are imported must be there.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from executorch.backends.xnnpack import xnnpack_preprocess
from executorch.backends.xnnpack._passes import XNNPACKPassManager
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir.lowered_backend_module import LoweredBackendModule
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram, exported_program
from torch.fx import traceback
from torch.fx.graph import _PyTreeCodeGen


@contextlib.contextmanager
def haste(program: ExportedProgram) -> Iterator[None]:
    """Inside the block `program` is lowered two and a half times as fast, or more (docs/benchmarks.md)."""
    with contextlib.ExitStack() as stack:
        for part in (_no_provenance, _code_when_called, _needed_passes, _no_collection, _nothing_remembered):
            stack.enter_context(part())
        stack.enter_context(_only_what_occurs(program))
        yield


class HastyPartitioner(XnnpackPartitioner):
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
    every pass would copy the whole history of every node.
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
def _code_when_called() -> Iterator[None]:
    """Inside the block a graph is written as Python code when it is called: thousands are made, sixty are."""
    write = fx.GraphModule.recompile

    def later(self: fx.GraphModule) -> None:
        codegen = self._graph._codegen
        if isinstance(codegen, _PyTreeCodeGen):
            self._in_spec, self._out_spec = codegen.pytree_info.in_spec, codegen.pytree_info.out_spec
        self._code = ""  # is put into messages that nobody reads

        def forward(self: fx.GraphModule, *arguments: Any, **keywords: Any) -> Any:
            write(self)  # in the place of this function
            return type(self).forward(self, *arguments, **keywords)

        type(self).forward = forward

    with mock.patch.object(fx.GraphModule, "recompile", later):
        yield


#: pass of XNNPACK -> it leaves a graph as it is that has no operator with one of these in its name
_LOOKS_FOR = {
    "ConvertToSDPAPass": ("softmax",),
    "ConvertToUpsampleBilinear2d": ("index", "upsample"),
    "Conv1dUnsqueezePass": ("conv",),
    "DecomposeBatchNorm": ("batch_norm",),
    "DecomposeConcatenate": ("cat",),
    "FuseActivationPass": ("relu", "hardtanh"),
    "FuseBatchNormPass": ("batch_norm",),
    "InsertPadQDQPass": ("pad",),
    "PReLUReshapePass": ("prelu",),
    "PropagateCustomMetaPass": ("quantize",),
    "RemoveGetItemPass": ("max",),
}


class _NeededPasses(XNNPACKPassManager):
    """Runs the passes that find something to do: each traces the graph anew, and ten of seventeen in vain."""

    def transform(self) -> ExportedProgram:
        program = self.exported_program
        for one in self.passes:
            names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
            words = _LOOKS_FOR.get(one.__name__)
            if words is None or any(word in name for word in words for name in names):
                program = XNNPACKPassManager(program, [one]).transform()
        return program


@contextlib.contextmanager
def _needed_passes() -> Iterator[None]:
    if not hasattr(xnnpack_preprocess, "XNNPACKPassManager"):
        yield
        return
    with mock.patch.object(xnnpack_preprocess, "XNNPACKPassManager", _NeededPasses):
        yield


#: functions that remember what came of every graph or node they were asked about, where their modules are in use
_REMEMBER_GRAPHS = (
    ("executorch.exir.backend.utils", "is_same_node"),
    ("torchao.utils", "_assert_and_get_unique_device"),
    ("torch.ao.quantization.fx.utils", "assert_and_get_unique_device"),
)


@contextlib.contextmanager
def _nothing_remembered() -> Iterator[None]:
    """After the block torch forgets what came of calling the delegates made inside, ExecuTorch which nodes it compared,
    and quantising the device of which graph it looked for: they would keep the weights of every program as long as the
    process lives.
    """
    outcomes: dict[Any, Any] = getattr(FakeTensorMode, "cache", {})
    before = len(outcomes)
    try:
        yield
    finally:
        for call in list(itertools.islice(outcomes, before, None)):
            if any(isinstance(part, LoweredBackendModule) for part in getattr(call, "key", ())):
                del outcomes[call]
        for module, name in _REMEMBER_GRAPHS:
            remembers = getattr(sys.modules.get(module), name, None)
            getattr(remembers, "cache_clear", lambda: None)()


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
