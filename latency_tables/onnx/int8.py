"""int8 ONNX models: our own graph with the ranges of its values written in as QuantizeLinear and DequantizeLinear.

ONNX Runtime fuses the pairs around an operator into its int8 kernel. Activations are uint8 and weights int8 with one
scale an output channel, the combination that is fast on x86 as well as Arm. Weights use seven of their bits: x86
without VNNI adds pairs of products in 16 bits, which eight bits overflow without a word ("reduce range" in
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from torch import fx

from latency_tables.onnx.graph import to_onnx

#: largest weight: 2 * 255 * 64 < 2 ** 15
_LARGEST = 64

#: operators with int8 kernels; all others compute in float32 between two conversions
_INT8 = {"Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid"}
_MATRICES = {"Conv", "Gemm", "MatMul"}
#: operators that take uint8 numbers as they are
_MOVES = {"Reshape", "Transpose", "Flatten", "Gather", "GatherND", "Slice", "MaxPool", "Identity"}
#: bounds, which ONNX Runtime drops where the grid behind them ends there too
_BOUNDS = {"Relu", "Clip"}


@dataclass(frozen=True)
class Grid:
    """A uint8 number q stands for `scale * (q - zero_point)`."""

    scale: float
    zero_point: int

    @classmethod
    def spanning(cls, low: float, high: float) -> Grid:
        """The finest grid from `low` to `high` that has zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32(max(high - low, 1e-6) / 255))
        return cls(scale, max(0, min(255, round(-low / scale))))


def quantize(
    model: onnx.ModelProto,
    inputs: Sequence[np.ndarray],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    float32_ends: bool = False,
) -> onnx.ModelProto:
    """`model` (of `to_onnx`, one input and output) in int8, ranges as `inputs` (float32) fill them, each of `(1, ...)`
    or, where the batch is open, `(N, ...)`. Values of the names in `ranges` have those (lowest, highest) instead.

    Input and output are **uint8**, so that an operator costs what it does between int8 neighbours and a network leaves
    conversions to its caller; their grids are in the model's metadata: `input_scale`, `input_zero_point`,
    `output_scale`, `output_zero_point`. With `float32_ends` the file takes the place of the float32 one: the input is
    converted inside, and the output is what the last operator adds up, not rounded. `model` is not changed.
    """
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    seen = _ranges(model, inputs)
    given = {name: ends for name, ends in (ranges or {}).items() if name in seen}
    grids = _grids(graph, weights, {**seen, **given}, float32_output=float32_ends)
    source, result = onnx.ValueInfoProto(), onnx.ValueInfoProto()
    source.CopyFrom(graph.input[0])
    result.CopyFrom(graph.output[0])
    writer = _Writer(weights, grids)
    if float32_ends:
        writer.take_float32(source.name)
    for node in graph.node:
        writer.write(node)
    if not float32_ends:
        source.type.tensor_type.elem_type = result.type.tensor_type.elem_type = TensorProto.UINT8
        writer.rename({f"{source.name}.int8": source.name, f"{result.name}.int8": result.name})
    nodes = writer.nodes
    used = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in writer.weights.items() if name in used]
    body = helper.make_graph(nodes, graph.name, [source], [result], kept)
    quantized = helper.make_model(
        body, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name=model.producer_name
    )
    if not float32_ends:
        _add_edge_grids(quantized, grids[source.name], grids[result.name])
    return quantized


def to_onnx_int8(
    module: fx.GraphModule, input_shape: tuple[int, ...], inputs: Sequence[np.ndarray] | None = None
) -> onnx.ModelProto:
    """`quantize(to_onnx(module))` on `inputs`, of `(1, *input_shape)` each; on four standard normal ones without."""
    if inputs is None:
        generator = np.random.default_rng(0)
        inputs = [generator.standard_normal((1, *input_shape), dtype=np.float32) for _ in range(4)]
    return quantize(to_onnx(module, input_shape), inputs)


def _add_edge_grids(model: onnx.ModelProto, given: Grid, result: Grid) -> None:
    for end, grid in (("input", given), ("output", result)):
        for key, value in ((f"{end}_scale", grid.scale), (f"{end}_zero_point", grid.zero_point)):
            model.metadata_props.add(key=key, value=repr(value))


def edge_grids(model: onnx.ModelProto) -> tuple[Grid, Grid]:
    """What the uint8 numbers of input and output of a quantised model stand for."""
    data = {entry.key: entry.value for entry in model.metadata_props}
    given, result = (Grid(float(data[f"{end}_scale"]), int(data[f"{end}_zero_point"])) for end in ("input", "output"))
    return given, result


def _ranges(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> dict[str, tuple[float, float]]:
    """Least and largest number of every float32 value, by running the model with all of them as outputs."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    end, source = model.graph.output[0].name, model.graph.input[0].name
    names = [name for node in model.graph.node for name in node.output if name != end]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges: dict[str, tuple[float, float]] = {}
    for x in inputs:
        for name, value in zip([source, end, *names], [x, *session.run([end, *names], {source: x})], strict=True):
            if value.dtype == np.float32:
                low, high = ranges.get(name, (0.0, 0.0))
                ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges


def _grids(
    graph: onnx.GraphProto,
    weights: Mapping[str, onnx.TensorProto],
    ranges: Mapping[str, tuple[float, float]],
    *,
    float32_output: bool,
) -> dict[str, Grid]:
    """The grid of every value that becomes uint8: those at the edges, and what int8 operators read or write.

    Two kinds stay float32, as ONNX Runtime fuses them: what a convolution hands to a bound, a product to its bias.
    """
    readers: dict[str, list[onnx.NodeProto]] = {name: [] for name in ranges}
    for node in graph.node:
        for name in node.input:
            if name in ranges:
                readers[name].append(node)
    makers = {name: node for node in graph.node for name in node.output}

    def in_int8(node: onnx.NodeProto) -> bool:
        if node.op_type in {"Add", "Mul"} and any(name in weights or _is_gelu(makers.get(name)) for name in node.input):
            return False
        return node.op_type in _INT8

    def is_uint8(name: str) -> bool:
        maker, reads = makers.get(name), readers[name]
        if maker is None or not reads:
            return True
        if maker.op_type in _MATRICES and len(reads) == 1:
            biased = reads[0].op_type == "Add" and any(other in weights for other in reads[0].input)
            if biased or (maker.op_type != "MatMul" and reads[0].op_type in _BOUNDS):
                return False
        return any(in_int8(node) for node in (maker, *reads))

    found = {name for name in ranges if is_uint8(name)}
    moves = [node for node in graph.node if node.op_type in _MOVES and node.input[0] in ranges]
    for node in (*moves, *reversed(moves)):
        if {node.input[0], node.output[0]} & found:
            found |= {node.input[0], node.output[0]}
    if float32_output:
        end = graph.output[0].name
        found.discard(end)
        while end in makers and makers[end].op_type in _MOVES:
            end = makers[end].input[0]
            found.discard(end)
    grids = {name: Grid.spanning(*ranges[name]) for name in found}
    for node in moves:
        if node.input[0] in grids:
            grids[node.output[0]] = grids[node.input[0]]
    return grids


def _is_gelu(node: onnx.NodeProto | None) -> bool:
    """Whether this adds the one to the erf of a GELU, which is fused, and computed in float32."""
    return node is not None and node.op_type == "Add" and ".erf" in node.input[0]


class _Writer:
    """Rewrites a graph node by node: every float32 value becomes a uint8 one, each reader gets its own conversion."""

    def __init__(self, weights: dict[str, onnx.TensorProto], grids: dict[str, Grid]) -> None:
        self.weights, self.grids = dict(weights), grids
        self.nodes: list[onnx.NodeProto] = []

    def write(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if node.op_type in _MOVES and node.input[0] in self.grids:
            copy.input[0], copy.output[0] = f"{node.input[0]}.int8", f"{node.output[0]}.int8"
            self.nodes.append(copy)
        else:
            self._between_conversions(copy)

    def _between_conversions(self, node: onnx.NodeProto) -> None:
        given, made = list(node.input), list(node.output)
        for index, name in enumerate(given):
            if name in self.grids:
                node.input[index] = self._dequantize(name, f"{node.name}.{index}")
        if node.op_type in _MATRICES and given[0] in self.grids and given[1] in self.weights:
            scales = self._weight(node, axis=1 if node.op_type == "MatMul" else 0)
            if len(given) > 2:
                self._bias(node, scales * np.float32(self.grids[given[0]].scale))
        self.nodes.append(node)
        for index, name in enumerate(made):
            if name in self.grids:
                node.output[index] = f"{name}.real"
                self._quantize(f"{name}.real", name)

    def take_float32(self, source: str) -> None:
        """Write the conversion of a float32 input."""
        self._quantize(source, source)

    def rename(self, names: Mapping[str, str]) -> None:
        """Give values other names."""
        for node in self.nodes:
            for values in (node.input, node.output):
                for index, name in enumerate(values):
                    values[index] = names.get(name, name)

    def _quantize(self, real: str, name: str) -> None:
        grid = self._parameters(name, self.grids[name])
        self.nodes.append(helper.make_node("QuantizeLinear", [real, *grid], [f"{name}.int8"], name=f"Q_{name}"))

    def _dequantize(self, name: str, where: str) -> str:
        parameters = self._parameters(name, self.grids[name])
        read = f"{where}.real"
        self.nodes.append(
            helper.make_node("DequantizeLinear", [f"{name}.int8", *parameters], [read], name=f"DQ_{where}")
        )
        return read

    def _parameters(self, name: str, grid: Grid) -> list[str]:
        scale, zero = f"{name}.int8.scale", f"{name}.int8.zero_point"  # a value `x` may have a weight `x.scale`
        self.weights[scale] = numpy_helper.from_array(np.float32(grid.scale).reshape(()), scale)
        self.weights[zero] = numpy_helper.from_array(np.uint8(grid.zero_point).reshape(()), zero)
        return [scale, zero]

    def _weight(self, node: onnx.NodeProto, *, axis: int) -> np.ndarray:
        """Replace the second input by int8 numbers with one scale for each index of `axis`; gives the scales."""
        name = node.input[1]
        values = numpy_helper.to_array(self.weights[name])
        others = tuple(dim for dim in range(values.ndim) if dim != axis)
        scales = np.maximum(np.abs(values).max(others, keepdims=True) / _LARGEST, 1e-9).astype(np.float32)
        self._store(f"{name}.int8", np.rint(values / scales).astype(np.int8))
        node.input[1] = self._read(f"{name}.int8", scales.ravel(), np.zeros(scales.size, np.int8), axis)
        return scales.ravel()

    def _bias(self, node: onnx.NodeProto, scales: np.ndarray) -> None:
        name = node.input[2]
        values = numpy_helper.to_array(self.weights[name])
        self._store(f"{name}.int32", np.clip(np.rint(values / scales), -(2**31), 2**31 - 1).astype(np.int32))
        node.input[2] = self._read(f"{name}.int32", scales.astype(np.float32), np.zeros(scales.size, np.int32), 0)

    def _read(self, name: str, scales: np.ndarray, zeros: np.ndarray, axis: int) -> str:
        real = f"{name}.real"
        if not any(real in node.output for node in self.nodes):
            self._store(f"{name}.scale", scales)
            self._store(f"{name}.zero_point", zeros)
            parameters = [name, f"{name}.scale", f"{name}.zero_point"]
            self.nodes.append(helper.make_node("DequantizeLinear", parameters, [real], name=f"DQ_{name}", axis=axis))
        return real

    def _store(self, name: str, values: np.ndarray) -> None:
        self.weights[name] = numpy_helper.from_array(values, name)
