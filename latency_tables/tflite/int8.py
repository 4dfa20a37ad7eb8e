"""Full-integer int8 models from float32 ones: ranges from a calibration, then the same graph in 8 bits.

Weights of convolutions and linear layers are symmetric with one scale per output channel, activations have one scale
and zero point per tensor, biases are 32-bit integers. Rules of the operators:
https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
B. Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from latency_tables.tflite.file import Quantization, TFLiteModel, TFLiteOperator, TFLiteTensor
from latency_tables.tflite.interpreter import value_ranges
from search_spaces.common.errors import UserError

#: tensor -> its least and its greatest value
Ranges = Mapping[int, tuple[float, float]]

#: what gives numbers back as they came: input and output share scale and zero point
_SAME_SCALE = {
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "GATHER",
    "MAX_POOL_2D",
    "PAD",
    "PADV2",
    "RELU6",  # TensorFlow Lite Micro clamps and does not rescale
    "RESHAPE",
    "SLICE",
    "TOPK_V2",
    "TRANSPOSE",
}
#: outputs between 0 and 1, whose scale the format prescribes
_PRESCRIBED = {"SOFTMAX", "LOGISTIC"}
#: axis of the output channels in the weights
_WEIGHTED = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
#: what has no 8-bit form in TFLite: stays in float32 between a DEQUANTIZE and a QUANTIZE
_FLOAT = {"DIV"}

_UNIT = Quantization(np.array([1 / 256], np.float32), -128)
_LEAST_SCALE = 1e-9
#: biases stay well below 2**31, so that sums with them do as well
_LARGEST_BIAS = 2**29


def quantize(model: TFLiteModel, inputs: Iterable[NDArray[np.float32]]) -> TFLiteModel:
    """`model` in int8, input and output too, for values in the ranges they take with `inputs` (each of the shape of the
    model's input). Raises `UserError` without any inputs.

    Operators without an 8-bit form in TFLite (division) stay in float32 between conversions.
    """
    samples = list(inputs)
    if not samples:
        raise UserError("int8 needs inputs to calibrate with, and there are none")
    for tensor in model.tensors():
        if tensor.dtype == "int8":
            raise UserError("this model is in int8 already", key=tensor.name)
    return _Quantizer(model, value_ranges(model, samples)).quantized()


class _Quantizer:
    def __init__(self, model: TFLiteModel, ranges: Ranges) -> None:
        self.model, self.ranges = model, ranges
        self.scales = _activation_scales(model, ranges)
        self.written: dict[int, TFLiteTensor] = {}
        self.operators: list[TFLiteOperator] = []

    def quantized(self) -> TFLiteModel:
        for operator in self.model.operators:
            if operator.kind in _FLOAT:
                self._in_float(operator)
            else:
                inputs = self._weighted(operator) if operator.kind in _WEIGHTED else map(self._int8, operator.inputs)
                self._add(operator, list(inputs), [self._int8(tensor) for tensor in operator.outputs])
        return TFLiteModel(self._int8(self.model.input), self._int8(self.model.output), self.operators)

    def _add(self, like: TFLiteOperator, inputs: list[TFLiteTensor], outputs: list[TFLiteTensor]) -> None:
        self.operators.append(TFLiteOperator(like.kind, inputs, outputs, like.options))

    def _int8(self, tensor: TFLiteTensor) -> TFLiteTensor:
        """The 8-bit tensor in place of a float one; constants with their numbers, integers as they are."""
        if tensor.dtype != "float32":
            return tensor
        if id(tensor) not in self.written:
            found = self.scales[id(tensor)]
            data = None if tensor.data is None else _rounded(tensor.data, found.scales, found.zero_point)
            self.written[id(tensor)] = TFLiteTensor(tensor.name, tensor.shape, data, "int8", found)
        return self.written[id(tensor)]

    def _weighted(self, operator: TFLiteOperator) -> list[TFLiteTensor]:
        x, weight, bias = operator.inputs
        assert weight.data is not None and bias.data is not None
        axis, quantized = _WEIGHTED[operator.kind], self._int8(x)
        assert quantized.quantization is not None
        given = float(quantized.quantization.scales[0])
        others = tuple(i for i in range(weight.data.ndim) if i != axis)
        scales = np.abs(weight.data).max(axis=others).astype(np.float64) / 127
        scales = np.maximum(scales, np.abs(bias.data) / (given * _LARGEST_BIAS))
        scales = np.maximum(scales, _LEAST_SCALE).astype(np.float32)
        along = scales.reshape([-1 if i == axis else 1 for i in range(weight.data.ndim)])
        data = _rounded(weight.data, along, 0, least=-127)
        steps = (given * scales.astype(np.float64)).astype(np.float32)
        sums = np.rint(bias.data / steps.astype(np.float64)).astype(np.int32)
        return [
            quantized,
            TFLiteTensor(weight.name, weight.shape, data, "int8", Quantization(scales, axis=axis)),
            TFLiteTensor(bias.name, bias.shape, sums, "int32", Quantization(steps)),
        ]

    def _in_float(self, operator: TFLiteOperator) -> None:
        inputs = []
        for tensor in operator.inputs:
            if tensor.dtype != "float32" or tensor.data is not None:
                inputs.append(tensor)
                continue
            inputs.append(TFLiteTensor(f"{tensor.name}.float", tensor.shape))
            self.operators.append(TFLiteOperator("DEQUANTIZE", [self._int8(tensor)], inputs[-1:]))
        outputs = [TFLiteTensor(f"{tensor.name}.float", tensor.shape) for tensor in operator.outputs]
        self._add(operator, inputs, outputs)
        for tensor, output in zip(operator.outputs, outputs, strict=True):
            self.operators.append(TFLiteOperator("QUANTIZE", [output], [self._int8(tensor)]))


def _activation_scales(model: TFLiteModel, ranges: Ranges) -> dict[int, Quantization]:
    """Scale and zero point of every float tensor; those that must share them are found by union."""
    parents = {id(tensor): id(tensor) for tensor in model.tensors()}

    def root(key: int) -> int:
        while parents[key] != key:
            parents[key] = key = parents[parents[key]]
        return key

    prescribed: list[int] = []
    for operator in model.operators:
        if operator.kind in _SAME_SCALE:
            alike = [t for t in (*operator.inputs, *operator.outputs) if t.dtype == "float32"]
            for tensor in alike[1:]:
                parents[root(id(tensor))] = root(id(alike[0]))
        elif operator.kind in _PRESCRIBED:
            prescribed += [id(tensor) for tensor in operator.outputs]
    together: dict[int, tuple[float, float]] = {}
    for key, (low, high) in ranges.items():
        least, most = together.get(root(key), (0.0, 0.0))
        together[root(key)] = min(least, low), max(most, high)
    found = {key: _scale(low, high) for key, (low, high) in together.items()}
    found |= {root(key): _UNIT for key in prescribed}
    return {id(t): found[root(id(t))] for t in model.tensors() if t.dtype == "float32" and root(id(t)) in found}


def _scale(low: float, high: float) -> Quantization:
    scale = np.float32(max((high - low) / 255, _LEAST_SCALE))
    zero = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return Quantization(np.array([scale], np.float32), zero)


def _rounded(
    data: NDArray[np.float32], scales: NDArray[np.float32], zero: int, *, least: int = -128
) -> NDArray[np.int8]:
    with np.errstate(over="ignore"):  # what stands for minus infinity
        return np.clip(np.rint(data / scales) + zero, least, 127).astype(np.int8)
