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
from torch.fx import GraphModule

from ofa.export.forms.base import INPUT, OUTPUT, Predict
from ofa.export.forms.tracing import trace
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes

OPSET = 20


class OnnxForm:
    name = "onnx"
    file = "model.onnx"

    def write(self, network: GraphModule, *, input_shape: tuple[int, int, int], folder: Path) -> None:
        path = folder / self.file
        with _quiet():
            converted = torch.onnx.export(
                trace(network, input_shape),
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
