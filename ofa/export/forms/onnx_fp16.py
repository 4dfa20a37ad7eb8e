"""`model_fp16.onnx`: the graph of the form `onnx` with weights and values in half precision; float32 in, float32 out.

Half the size of `model.onnx`, for accelerators that compute in half precision. ONNX Runtime has few such kernels for
CPUs, and computes the rest in float32 between two conversions: there it is no faster.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from latency_tables.onnx.float16 import to_float16
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.onnx_session import float32_graph, load_session, prepare_session, usage, write_graph
from search_spaces.common.errors import in_file


class OnnxFp16Form:
    name = "onnx-fp16"
    file = "model_fp16.onnx"
    exact = False
    requires = ("onnxruntime",)
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            write_graph(to_float16(float32_graph(source)), folder / self.file)

    def load(self, folder: Path) -> Predict:
        return load_session(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return prepare_session(folder / self.file, input_shape, threads=threads)
