"""Tracing a network into a `torch.export` program: any batch size, the same bytes every time, no paths of this
machine.
"""

from __future__ import annotations

import torch
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule

from ofa.export.forms.base import BATCH

#: what torch notes about where each node came from: source files and line numbers of the exporting machine
_PROVENANCE = ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node", "torch_fn")


def trace(network: GraphModule, input_shape: tuple[int, int, int]) -> ExportedProgram:
    """The program of `network` in evaluation mode for images of (C, H, W) in batches of any size."""
    program = trace_with_examples(network, input_shape)
    program.example_inputs = None  # `torch.export.save` would pickle them; without, an archive is graph and raw weights
    for node in program.graph.nodes:
        for key in _PROVENANCE:
            node.meta.pop(key, None)
    return program


def trace_with_examples(network: GraphModule, input_shape: tuple[int, int, int]) -> ExportedProgram:
    """The same with what torch keeps beside it: for compilers, which ask for the inputs that it was traced with."""
    examples = torch.zeros(2, *input_shape)  # two: torch.export takes a batch of one for a constant
    return torch.export.export(network.eval(), (examples,), dynamic_shapes=({0: Dim(BATCH, min=1)},))
