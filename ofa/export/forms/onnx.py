"""`model.onnx`: opset 20 graph with weights inside, batch norm folded, any batch size; input `image`, output
`logits`.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from ofa.export.forms.base import INPUT, OUTPUT, Predict, Source
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes

OPSET = 20


class OnnxForm:
    name = "onnx"
    file = "model.onnx"

    def write(self, source: Source, folder: Path) -> None:
        path = folder / self.file
        with _quiet():
            converted = torch.onnx.export(
                source.program,
                dynamo=True,
                external_data=False,
                optimize=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                verbose=False,
            )
        assert converted is not None
        model = converted.model_proto
        _pool_globally(model)
        _strip(model)
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise UserError(f"the converted graph is not valid ONNX: {error}", file=path) from error
        if any(node.op_type == "BatchNormalization" for node in model.graph.node):
            raise UserError("a batch norm could not be folded into its convolution", file=path)
        write_bytes(path, model.SerializeToString(deterministic=True))

    def load(self, folder: Path) -> Predict:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / self.file), options, providers=["CPUExecutionProvider"])

        def predict(images: Tensor) -> Tensor:
            return torch.from_numpy(np.asarray(session.run([OUTPUT], {INPUT: images.cpu().numpy()})[0]))

        return predict


def _pool_globally(model: onnx.ModelProto) -> None:
    """Means over both image axes become GlobalAveragePool: the same by definition, and faster (by a tenth on small
    networks) in ONNX Runtime, which keeps its blocked layout around pooling but not around ReduceMean.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) != 2 or node.input[1] not in constants:
            continue
        axes = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        keeps = all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")
        if sorted(axes) in ([2, 3], [-2, -1]) and keeps:
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    used = {name for node in model.graph.node for name in node.input}
    unused = [tensor for tensor in model.graph.initializer if tensor.name not in used]
    for tensor in unused:
        model.graph.initializer.remove(tensor)


def _strip(model: onnx.ModelProto) -> None:
    """Drop the notes on where the nodes came from: they differ from machine to machine and help no runtime."""
    graph = model.graph
    parts = [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter reports its steps on stdout, which belongs to the commands' own output."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
