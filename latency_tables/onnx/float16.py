"""Half precision ONNX models: our own graph with its weights and values in float16, and float32 at both ends.

Every operator that `to_onnx` writes takes float16 by the standard (https://onnx.ai/onnx/operators/); a runtime that has
no kernel for it puts conversions around its float32 one by itself. So all there is to do is to convert the weights, and
both ends. ONNX Runtime's converter (`onnxruntime.transformers.float16`, of 1.32) gives nodes out of order, which the
standard forbids, and importing it adds a folder of scripts to `sys.path`.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from search_spaces.common.errors import UserError

#: the largest number
LARGEST = float(np.finfo(np.float16).max)


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` (of `to_onnx`, one input and output) that computes in half precision between float32 ends.

    Weights are rounded to nearest; infinite ones, which bounds are made of, stay so. Raises `UserError` naming a weight
    that is beyond `LARGEST`.
    """
    graph = model.graph
    source, result = graph.input[0].name, graph.output[0].name
    nodes = [helper.make_node("Cast", [source], [f"{source}.half"], name=f"Cast_{source}", to=TensorProto.FLOAT16)]
    for node in graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for values in (copy.input, copy.output):
            for index, name in enumerate(values):
                values[index] = f"{name}.half" if name in (source, result) else name
        nodes.append(copy)
    nodes.append(helper.make_node("Cast", [f"{result}.half"], [result], name=f"Cast_{result}", to=TensorProto.FLOAT))
    weights = [_half(tensor) for tensor in graph.initializer]
    body = helper.make_graph(nodes, graph.name, list(graph.input), list(graph.output), weights)
    return helper.make_model(
        body, opset_imports=list(model.opset_import), ir_version=model.ir_version, producer_name=model.producer_name
    )


def _half(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if tensor.data_type != TensorProto.FLOAT:
        return tensor
    values = numpy_helper.to_array(tensor)
    if (np.abs(values[np.isfinite(values)]) > LARGEST).any():
        raise UserError(f"a weight is beyond {LARGEST:.0f}, the largest number of half precision", key=tensor.name)
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)
