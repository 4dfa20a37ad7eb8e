"""ExecuTorch programs for XNNPACK: https://docs.pytorch.org/executorch/stable/using-executorch-export.html"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from torch import Tensor, fx

from latency_tables.executorch.graph import pools_as_means
from latency_tables.executorch.haste import HastyPartitioner, haste


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
    with haste(exported):
        edge = to_edge_transform_and_lower(
            exported,
            partitioner=[HastyPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=False),
            constant_methods=dict(constants or {}),
        )
        return bytes(edge.to_executorch().buffer)
