"""TensorFlow Lite models: tensors and operators as plain objects, and their bytes.

Schema: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

#: of the format; what every reader checks first
IDENTIFIER = b"TFL3"
_ALIGNMENT = 16
_SCHEMA_VERSION = 3

#: operator -> the table of its options, where there is one
_OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "GELU": "GeluOptions",
    "HARD_SWISH": "HardSwishOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MUL": "MulOptions",
    "PACK": "PackOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "QUANTIZE": "QuantizeOptions",
    "RESHAPE": "ReshapeOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SUB": "SubOptions",
    "SUM": "ReducerOptions",
    "TOPK_V2": "TopKV2Options",
    "TRANSPOSE": "TransposeOptions",
    "UNPACK": "UnpackOptions",
}

_TYPES = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32"}


@dataclass(frozen=True, eq=False)
class Quantization:
    """value = scale x (number - zero_point); one scale, or one for each place along `axis`."""

    scales: NDArray[np.float32]
    zero_point: int = 0
    axis: int = 0


@dataclass(eq=False)
class TFLiteTensor:
    """A value of the graph, or a constant of it where there is `data`."""

    name: str
    shape: tuple[int, ...]
    data: NDArray[Any] | None = None
    dtype: str = "float32"
    quantization: Quantization | None = None


@dataclass(eq=False)
class TFLiteOperator:
    """`kind` is the schema's name: CONV_2D. `options` are fields of the table of its options."""

    kind: str
    inputs: list[TFLiteTensor]
    outputs: list[TFLiteTensor]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class TFLiteModel:
    """One subgraph of one input and one output; operators in the order of execution."""

    input: TFLiteTensor
    output: TFLiteTensor
    operators: list[TFLiteOperator]

    def tensors(self) -> list[TFLiteTensor]:
        """All of them, each once, in the order in which they stand in the file."""
        found = {id(self.input): self.input}
        for operator in self.operators:
            for tensor in (*operator.inputs, *operator.outputs):
                found.setdefault(id(tensor), tensor)
        found.setdefault(id(self.output), self.output)
        return list(found.values())

    def to_bytes(self) -> bytes:
        """The content of a `.tflite` file; equal for equal models."""
        tensors = self.tensors()
        number = {id(tensor): index for index, tensor in enumerate(tensors)}
        codes: list[tuple[str, int]] = sorted({(op.kind, _version(op)) for op in self.operators})
        buffers: list[Any] = [_Buffer(None)]  # the first is empty by rule: that of all that is no constant
        written = []
        for tensor in tensors:
            if tensor.data is not None:
                buffers.append(_Buffer(tensor.data))
            written.append(_tensor(tensor, len(buffers) - 1 if tensor.data is not None else 0))
        graph = schema.SubGraphT(
            tensors=written,
            inputs=[number[id(self.input)]],
            outputs=[number[id(self.output)]],
            operators=[_operator(op, codes.index((op.kind, _version(op))), number) for op in self.operators],
            name="main",
        )
        model = schema.ModelT(
            version=_SCHEMA_VERSION,
            operatorCodes=[_code(kind, version) for kind, version in codes],
            subgraphs=[graph],
            description="ofa-nas",
            buffers=buffers,
            signatureDefs=[_signature(self, number)],
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())


class _Buffer:
    """Constants stand at multiples of 16 bytes, as the schema asks for and its generated Python does not do."""

    def __init__(self, data: NDArray[Any] | None) -> None:
        self.data = None if data is None else np.ascontiguousarray(data).tobytes()

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (as the generated classes have it)
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return int(schema.BufferEnd(builder))


def _tensor(tensor: TFLiteTensor, buffer: int) -> schema.TensorT:
    quantization = None
    if (known := tensor.quantization) is not None:
        quantization = schema.QuantizationParametersT(
            scale=np.asarray(known.scales, np.float32),
            zeroPoint=np.full(len(known.scales), known.zero_point, np.int64),
            quantizedDimension=known.axis,
        )
    return schema.TensorT(
        shape=np.array(tensor.shape, np.int32),
        type=getattr(schema.TensorType, _TYPES[tensor.dtype]),
        buffer=buffer,
        name=tensor.name,
        quantization=quantization,
        hasRank=True,
    )


def _operator(operator: TFLiteOperator, code: int, number: dict[int, int]) -> schema.OperatorT:
    options, kind = None, 0
    if (table := _OPTIONS.get(operator.kind)) is not None:
        options = getattr(schema, f"{table}T")(**operator.options)
        kind = getattr(schema.BuiltinOptions, table)
    return schema.OperatorT(
        opcodeIndex=code,
        inputs=np.array([number[id(tensor)] for tensor in operator.inputs], np.int32),
        outputs=np.array([number[id(tensor)] for tensor in operator.outputs], np.int32),
        builtinOptionsType=kind,
        builtinOptions=options,
    )


def _code(kind: str, version: int) -> schema.OperatorCodeT:
    number = getattr(schema.BuiltinOperator, kind)
    return schema.OperatorCodeT(deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=version)


def _signature(model: TFLiteModel, number: dict[int, int]) -> schema.SignatureDefT:
    def entry(tensor: TFLiteTensor) -> schema.TensorMapT:
        return schema.TensorMapT(name=tensor.name, tensorIndex=number[id(tensor)])

    return schema.SignatureDefT(
        inputs=[entry(model.input)], outputs=[entry(model.output)], signatureKey="serving_default", subgraphIndex=0
    )


#: (float32, int8): the first version of an operator that knows the form written here, where it is not (1, 2)
_VERSIONS = {
    "BATCH_MATMUL": (1, 2),
    "CONV_2D": (1, 3),
    "DEPTHWISE_CONV_2D": (2, 3),
    "DIV": (1, 1),
    "FULLY_CONNECTED": (5, 5),
    "GATHER": (5, 5),
    "GELU": (1, 1),
    "HARD_SWISH": (1, 1),
    "QUANTIZE": (1, 1),
    "RESHAPE": (1, 1),
}


def _version(operator: TFLiteOperator) -> int:
    is_int8 = any(tensor.dtype == "int8" for tensor in (*operator.inputs, *operator.outputs))
    return _VERSIONS.get(operator.kind, (1, 2))[is_int8]


def is_tflite(content: bytes) -> bool:
    """Whether these bytes begin as a TensorFlow Lite model does."""
    return content[4:8] == IDENTIFIER
