"""`model_int8.tflite`: int8 for LiteRT, calibrated on images of the calibration split.

Input `image` and output `logits` are float32, as in `model.tflite`, and converted inside, so that an app takes the one
file for the other. Weights of convolutions and linear layers have a scale per output channel, all else one per tensor,
from the least and the greatest value on the calibration images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from latency_tables.tflite.file import TFLiteModel, TFLiteOperator, TFLiteTensor
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.products import products_as_layers
from ofa.export.forms.base import INPUT, OUTPUT, Predict, Source
from ofa.export.forms.tflite import as_fed, float_model, load_images, outside_xnnpack, prepare_call, usage
from search_spaces.common.errors import UserError, in_file
from search_spaces.common.files import write_bytes


class TfliteInt8Form:
    name = "tflite-int8"
    file = "model_int8.tflite"
    exact = False
    requires = ("ai-edge-litert",)
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            content = with_float_ends(products_as_layers(int8_model(source))).to_bytes()
        write_bytes(folder / self.file, content)

    def load(self, folder: Path) -> Predict:
        return load_images(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return prepare_call(folder / self.file, input_shape, threads=threads)

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """How it was quantised, what stayed in float32, and what XNNPACK leaves to LiteRT's own, slower kernels."""
        return {
            "quantization": {
                "weights": "int8 per output channel",
                "activations": "int8 per tensor, static",
                "ranges": "minmax",
                "num_images": len(calibration(source)),
                "ends": "float32",
            },
            "float_operators": float_operators(int8_model(source)),
            "outside_xnnpack": outside_xnnpack(folder / self.file),
        }


def int8_model(source: Source) -> TFLiteModel:
    """The network in int8, input and output too.

    Raises `UserError` naming an operator that cannot be converted, or if there are no images.
    """
    images = calibration(source)
    return quantize(float_model(source), as_fed(images))


def calibration(source: Source) -> Tensor:
    """Raises `UserError` if there are no images."""
    if source.calibration is None or not len(source.calibration):
        raise UserError("int8 needs images to calibrate with, and there are none")
    return source.calibration


def float_operators(model: TFLiteModel) -> dict[str, int]:
    """How many operators of an int8 model compute in float32 all the same, conversions apart, by their kind."""
    kinds = (
        operator.kind
        for operator in model.operators
        if operator.kind not in ("QUANTIZE", "DEQUANTIZE") and operator.outputs[0].dtype == "float32"
    )
    return dict(sorted(Counter(kinds).items()))


def with_float_ends(model: TFLiteModel) -> TFLiteModel:
    """The same int8 model between a QUANTIZE and a DEQUANTIZE, so that it takes and gives float32."""
    given, result = model.input, model.output
    outer = TFLiteTensor(INPUT, given.shape), TFLiteTensor(OUTPUT, result.shape)
    given.name, result.name = f"{INPUT}.int8", f"{OUTPUT}.int8"
    first = TFLiteOperator("QUANTIZE", [outer[0]], [given])
    last = TFLiteOperator("DEQUANTIZE", [result], [outer[1]])
    return TFLiteModel(outer[0], outer[1], [first, *model.operators, last])
