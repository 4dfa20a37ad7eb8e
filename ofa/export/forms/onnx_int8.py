"""`model_int8.onnx`: the graph of the form `onnx` in 8-bit integers, written as QuantizeLinear and DequantizeLinear.

Node for node what the runtime `onnxruntime_int8` measures (`latency_tables.onnx.int8`), but that images are converted
inside and logits are left as they are added up: float32 in, float32 out, any batch size. The ranges of values are those
by which the logits of calibration images are off least (`mse` of `latency_tables.cortex_m.calibration`); inside of
softmax attention, and of the image, all that was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import Tensor, fx

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.quantization import HIGH, LOW
from latency_tables.onnx.int8 import quantize
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.onnx_session import float32_graph, load_session, prepare_session, usage, write_graph
from search_spaces.common.errors import UserError, in_file

#: images that are run together, at most, and of all their pixels: all their values are in memory at once
_MOST_IMAGES, _MOST_PIXELS = 16, 2**18
#: the numbers that 8 bits hold
ENDS = np.array([LOW, HIGH])


class OnnxInt8Form:
    name = "onnx-int8"
    file = "model_int8.onnx"
    exact = False
    requires = ("onnxruntime",)
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        if source.calibration is None or not len(source.calibration):
            raise UserError("int8 needs images to calibrate with, and there are none", file=self.file)
        with in_file(self.file):
            together = max(1, min(_MOST_IMAGES, _MOST_PIXELS // math.prod(source.input_shape[1:])))
            images = [part.cpu().numpy() for part in source.calibration.split(together)]
            ranges = least_error_ranges(source.network, source.calibration)
            write_graph(quantize(float32_graph(source), images, ranges=ranges, float32_ends=True), folder / self.file)

    def load(self, folder: Path) -> Predict:
        return load_session(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return prepare_session(folder / self.file, input_shape, threads=threads)

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """How many of the weights are in 8 bits: biases are in 32, layer norms and places of tokens stay float32."""
        bits = {onnx.TensorProto.INT8: 8, onnx.TensorProto.INT32: 32, onnx.TensorProto.FLOAT: 32}
        sizes = {8: 0, 32: 0}
        for tensor in onnx.load(folder / self.file).graph.initializer:
            if tensor.data_type in bits and not tensor.name.endswith((".scale", ".zero_point")):
                sizes[bits[tensor.data_type]] += math.prod(tensor.dims)
        return {"num_weights_int8": sizes[8], "num_weights_other": sizes[32]}


def least_error_ranges(network: fx.GraphModule, images: Tensor) -> dict[str, tuple[float, float]]:
    """(lowest, highest) of values by the name of their fx node, which the values of the graph have too."""
    affine = calibrate(network, images, method="mse")
    return {name: (float(grid.real(ENDS)[0]), float(grid.real(ENDS)[1])) for name, grid in affine.items()}
