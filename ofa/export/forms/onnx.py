"""`model.onnx`: opset 20 graph with weights inside, batch norm folded, any batch size; input `image`, output
`logits`. Node for node the graph that candidates are measured with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ofa.export.forms.base import Predict, Source
from ofa.export.forms.onnx_session import float32_graph, load_session, prepare_session, usage, write_graph
from search_spaces.common.errors import UserError, in_file


class OnnxForm:
    name = "onnx"
    file = "model.onnx"
    exact = True
    requires = ("onnxruntime",)
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            model = float32_graph(source)
            if any(node.op_type == "BatchNormalization" for node in model.graph.node):
                raise UserError("a batch norm could not be folded into its convolution")
        write_graph(model, folder / self.file)

    def load(self, folder: Path) -> Predict:
        return load_session(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        """As the device `onnxruntime` runs files."""
        return prepare_session(folder / self.file, input_shape, threads=threads)
