"""`model.onnx`: opset 20 graph with weights inside, batch norm folded, any batch size; input `image`, output
`logits`. Node for node the graph that candidates are measured with.
"""

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
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_bytes

OPSET = 20


_USAGE = """\
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")


def logits(image):
    return session.run(["logits"], {"image": image})[0][0]
"""


class OnnxForm:
    name = "onnx"
    file = "model.onnx"
    exact = True
    requires = ("onnxruntime",)
    usage = _USAGE

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            model = to_onnx(source.network, source.input_shape, batch=BATCH, names=(INPUT, OUTPUT), opset=OPSET)
            try:
                onnx.checker.check_model(model, full_check=True)
            except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
                raise UserError(f"the converted graph is not valid ONNX: {error}") from error
            if any(node.op_type == "BatchNormalization" for node in model.graph.node):
                raise UserError("a batch norm could not be folded into its convolution")
        write_bytes(folder / self.file, model.SerializeToString(deterministic=True))

    def load(self, folder: Path) -> Predict:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(folder / self.file), options, providers=["CPUExecutionProvider"])

        def predict(images: Tensor) -> Tensor:
            return torch.from_numpy(np.asarray(session.run([OUTPUT], {INPUT: images.cpu().numpy()})[0]))

        return predict

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """As the device `onnxruntime` runs files."""
        return OnnxRuntime().prepare_file(folder / self.file, threads=threads, input_shapes=[(1, *input_shape)])
