"""Lowering as ExecuTorch does it when it is left alone."""

from __future__ import annotations

from typing import Any

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor

from latency_tables.executorch.graph import pools_as_means
from latency_tables.executorch.program import export


def plain_pte(network: Any, x: Tensor) -> bytes:
    graph = export(network, x)
    pools_as_means(graph)
    exported = torch.export.export(graph, (x,), strict=False)
    return bytes(to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)
