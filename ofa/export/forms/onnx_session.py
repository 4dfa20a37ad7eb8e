"""What the forms that are ONNX files share: how ONNX Runtime runs one, here and at its users."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from latency_tables.onnx.graph import to_onnx
from latency_tables.runtimes.onnxruntime import OnnxRuntime
from ofa.export.forms.base import BATCH, INPUT, OUTPUT, Predict, Source
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes

OPSET = 20

_USAGE = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])


def logits(image):
    return session.run(["{output}"], {{"{input}": image}})[0][0]
"""


def usage(file: str) -> str:
    return _USAGE.format(file=file, input=INPUT, output=OUTPUT)


def float32_graph(source: Source) -> onnx.ModelProto:
    """The graph of the form `onnx`. Raises `UserError` naming an operator that cannot be converted."""
    return to_onnx(source.network, source.input_shape, batch=BATCH, names=(INPUT, OUTPUT), opset=OPSET)


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Equal graphs give equal bytes. Raises `UserError` for one that is not valid."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(f"the converted graph is not valid ONNX: {error}", file=path.name) from error
    write_bytes(path, model.SerializeToString(deterministic=True))


def load_session(path: Path) -> Predict:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(images: Tensor) -> Tensor:
        return torch.from_numpy(np.asarray(session.run([OUTPUT], {INPUT: images.cpu().numpy()})[0]))

    return predict


def prepare_session(path: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
    return OnnxRuntime().prepare_file(path, threads=threads, input_shapes=[(1, *input_shape)])
