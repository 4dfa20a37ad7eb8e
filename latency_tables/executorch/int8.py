"""int8 networks for XNNPACK: quantised by PT2E with static ranges, one scale a weight channel, int8 in and out.

https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html. Its quantiser leaves what XNNPACK
or it has no int8 kernel for in float32 between two conversions: hard swish, GELU, softmax, layer norm, max pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import Tensor, fx
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.program import as_fed, export, to_pte

_QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
_DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default
_MOVES = {torch.ops.aten.flatten.using_ints, torch.ops.aten.transpose.int, torch.ops.aten.unflatten.int}


@dataclass(frozen=True)
class Grid:
    """An int8 number q stands for `scale * (q - zero_point)`."""

    scale: float
    zero_point: int

    @classmethod
    def of(cls, *values: Tensor) -> Grid:
        """The finest grid that spans these values and zero."""
        low = min(0.0, *(float(value.min()) for value in values))
        high = max(0.0, *(float(value.max()) for value in values))
        scale = max(high - low, 1e-6) / 255
        return cls(scale, max(-128, min(127, round(-128 - low / scale))))

    def quantize(self, x: Tensor) -> Tensor:
        return (x / self.scale).round().add(self.zero_point).clamp(-128, 127).to(torch.int8)

    def dequantize(self, q: Tensor) -> Tensor:
        return (q.float() - self.zero_point) * self.scale

    @property
    def arguments(self) -> tuple[Any, ...]:
        return (self.scale, self.zero_point, -128, 127, torch.int8)


def quantized_pte(module: fx.GraphModule, inputs: Sequence[Tensor]) -> bytes:
    """The int8 `.pte` of `module`, ranges as `inputs` (float32, each of `(1, ...)`) fill them; `module` is not changed.

    Input and output are int8. Their scales and zero points are what the further methods of the program return, by
    ExecuTorch's names: `input0_scale`, `input0_zp`, `output0_scale`, `output0_zp`.
    """
    inputs = [as_fed(x) for x in inputs]
    graph, outputs = _calibrated(module, inputs)
    given = _int8_input(graph, Grid.of(*inputs))
    _int8_output(graph, Grid.of(*outputs))
    _keep_grids(graph)
    result = _output_grid(graph, given)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    constants = {
        "input0_scale": given.scale,
        "input0_zp": given.zero_point,
        "output0_scale": result.scale,
        "output0_zp": result.zero_point,
    }
    return to_pte(graph, as_fed(given.quantize(inputs[0])), constants)


def quantized_pte_of_floats(module: fx.GraphModule, inputs: Sequence[Tensor]) -> bytes:
    """As `quantized_pte`, but input and output are float32, converted inside, and lie as `inputs` do."""
    graph, _ = _calibrated(module, inputs)
    _keep_grids(graph)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return to_pte(graph, inputs[0])


def _calibrated(module: fx.GraphModule, inputs: Sequence[Tensor]) -> tuple[fx.GraphModule, list[Tensor]]:
    """The ATen graph with conversions to int8 and back, and what it gave for `inputs` before."""
    network = for_xnnpack(module, tuple(inputs[0].shape[1:]))
    with torch.no_grad():
        observed = prepare_pt2e(export(network, inputs[0]), _quantizer())
        outputs = [observed(x) for x in inputs]
    return convert_pt2e(observed), outputs


class _Quantizer(XNNPACKQuantizer):
    """Without the patterns of batch norms and transposed convolutions, of which there are none: they take seconds."""

    SUPPORTED_PATTERNS = [  # noqa: RUF012
        pattern
        for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS
        if not {"bn", "transpose"} & set(pattern.name.split("_"))
    ]


def _quantizer() -> XNNPACKQuantizer:
    return _Quantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))


def _int8_input(network: fx.GraphModule, grid: Grid) -> Grid:
    """Take int8: on the grid that the first operators quantise to where they do, else on `grid`."""
    graph = network.graph
    (x,) = (node for node in graph.nodes if node.op == "placeholder")
    moved = x
    while len(moved.users) == 1 and next(iter(moved.users)).target in _MOVES:
        moved = next(iter(moved.users))  # of the same numbers, whatever they stand for
    users = list(moved.users)
    if users and all(node.target is _QUANTIZE and node.args[1:] == users[0].args[1:] for node in users):
        grid = _grid_of(users[0])
        for node in users:
            node.replace_all_uses_with(moved)
            graph.erase_node(node)
        return grid
    with graph.inserting_after(x):
        real = graph.call_function(_DEQUANTIZE, (x, *grid.arguments))
    x.replace_all_uses_with(real, delete_user_cb=lambda node: node is not real)
    return grid


def _int8_output(network: fx.GraphModule, grid: Grid) -> None:
    """Give int8: as the last operator has it where it is quantised, else on `grid`."""
    graph = network.graph
    end = graph.output_node()
    (result,) = end.all_input_nodes
    if result.target is _DEQUANTIZE:
        end.replace_input_with(result, result.all_input_nodes[0])
        return
    with graph.inserting_before(end):
        end.replace_input_with(result, graph.call_function(_QUANTIZE, (result, *grid.arguments)))


def _keep_grids(network: fx.GraphModule) -> None:
    _maxima_keep_grids(network)
    _pads_keep_grids(network)


def _maxima_keep_grids(network: fx.GraphModule) -> None:
    """XNNPACK picks the largest of int8 numbers as they are: a pooling's result is on the grid of what it pools."""
    for pool in network.graph.nodes:
        if pool.target is torch.ops.aten.max_pool2d.default and pool.args[0].target is _DEQUANTIZE:
            grid = pool.args[0].args[1:]
            for quantize in [node for node in pool.users if node.target is _QUANTIZE]:
                quantize.args = (pool, *grid)
                for read in [node for node in quantize.users if node.target is _DEQUANTIZE]:
                    read.args = (quantize, *grid)


def _pads_keep_grids(network: fx.GraphModule) -> None:
    """XNNPACK pads int8 numbers with the one that stands for zero: what follows reads them on the grid they were on."""
    graph = network.graph
    for pad in list(graph.nodes):
        if pad.target is torch.ops.aten.pad.default and pad.args[0].target is _DEQUANTIZE:
            readers, grid = list(pad.users), pad.args[0].args[1:]
            with graph.inserting_after(pad):
                quantize = graph.call_function(_QUANTIZE, (pad, *grid))
            with graph.inserting_after(quantize):
                read = graph.call_function(_DEQUANTIZE, (quantize, *grid))
            for reader in readers:
                reader.replace_input_with(pad, read)


def _output_grid(network: fx.GraphModule, given: Grid) -> Grid:
    (result,) = network.graph.output_node().all_input_nodes
    return _grid_of(result) if result.target is _QUANTIZE else given


def _grid_of(quantize: fx.Node) -> Grid:
    scale, zero_point = quantize.args[1:3]
    assert isinstance(scale, float) and isinstance(zero_point, int)
    return Grid(scale, zero_point)
