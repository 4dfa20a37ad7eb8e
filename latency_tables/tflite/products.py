"""Products of matrices as fully connected layers, one a matrix: for CPUs, in 8 bits.

Both factors of attention's products are computed, and XNNPACK knows no such product of 8 bit numbers. LiteRT has a
plain loop for it, which rescales number by number in a time that depends on the numbers; a fully connected layer, whose
weights may be computed too, has the kernels of a matrix library. Of an int8 transformer's time the products were half.
https://github.com/google-ai-edge/LiteRT/blob/main/tflite/kernels/batch_matmul.cc (`EvalInt8Int8`)
Microcontrollers and NPUs are given products as they are: they want the weights of a layer constant.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from latency_tables.tflite.file import TFLiteModel, TFLiteOperator, TFLiteTensor
from latency_tables.tflite.values import Shape

#: multiply-accumulates of one matrix from which a layer of its own is the faster
_LEAST_MACS = 4096


def products_as_layers(model: TFLiteModel) -> TFLiteModel:
    """The same int8 model, its products of matrices but the smallest written as fully connected layers.

    Float products stay, which XNNPACK knows, and those of matrices of which one is used for many.
    """
    operators: list[TFLiteOperator] = []
    for operator in model.operators:
        operators += _Layers(operator).written if _gains(operator) else [operator]
    return TFLiteModel(model.input, model.output, operators)


def _gains(operator: TFLiteOperator) -> bool:
    if operator.kind != "BATCH_MATMUL" or operator.outputs[0].dtype != "int8":
        return False
    (left, right), result = operator.inputs, operator.outputs[0]
    macs = math.prod(result.shape[-2:]) * left.shape[-1]
    return left.shape[:-2] == right.shape[:-2] and macs >= _LEAST_MACS and not operator.options["adjX"]


class _Layers:
    """What is written for a product: both stacks of matrices taken apart, a layer for a pair, the results stacked."""

    def __init__(self, product: TFLiteOperator) -> None:
        self.written: list[TFLiteOperator] = []
        (left, right), (result,) = product.inputs, product.outputs
        self._name = result.name
        if not product.options["adjY"]:
            right = self._turned(right)
        pairs = zip(self._matrices(left, "left"), self._matrices(right, "right"), strict=True)
        options = {"fusedActivationFunction": 0, "keepNumDims": True}
        found = [
            self._add("FULLY_CONNECTED", list(pair), f"matrix{number}", result.shape[-2:], result, **options)
            for number, pair in enumerate(pairs)
        ]
        stack = self._add(
            "PACK", found, "stack", (len(found), *result.shape[-2:]), result, valuesCount=len(found), axis=0
        )
        self._reshape(stack, result)

    def _turned(self, matrices: TFLiteTensor) -> TFLiteTensor:
        rank, shape = len(matrices.shape), matrices.shape
        order = self._numbers("turn", [*range(rank - 2), rank - 1, rank - 2])
        return self._add("TRANSPOSE", [matrices, order], "turned", (*shape[:-2], shape[-1], shape[-2]), matrices)

    def _matrices(self, stack: TFLiteTensor, side: str) -> list[TFLiteTensor]:
        num, sides = math.prod(stack.shape[:-2]), stack.shape[-2:]
        flat = TFLiteTensor(f"{self._name}.{side}", (num, *sides), None, "int8", stack.quantization)
        self._reshape(stack, flat)
        found = [TFLiteTensor(f"{flat.name}{i}", sides, None, "int8", stack.quantization) for i in range(num)]
        self.written.append(TFLiteOperator("UNPACK", [flat], found, {"num": num, "axis": 0}))
        return found

    def _reshape(self, x: TFLiteTensor, to: TFLiteTensor) -> None:
        sides = self._numbers(f"{to.name}.sides", to.shape)
        self.written.append(TFLiteOperator("RESHAPE", [x, sides], [to], {"newShape": sides.data}))

    def _numbers(self, name: str, values: object) -> TFLiteTensor:
        data = np.array(values, np.int32)
        return TFLiteTensor(f"{self._name}.{name}", data.shape, data, "int32")

    def _add(
        self, kind: str, inputs: list[TFLiteTensor], name: str, shape: Shape, like: TFLiteTensor, **options: Any
    ) -> TFLiteTensor:
        """An operator of one output, with the scale of `like`."""
        output = TFLiteTensor(f"{self._name}.{name}", shape, None, "int8", like.quantization)
        self.written.append(TFLiteOperator(kind, inputs, [output], options))
        return output
