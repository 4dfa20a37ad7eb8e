"""`model_int8.pte`: int8 for ExecuTorch with XNNPACK, quantised by PT2E on images of the calibration split.

Input and output are float32, as in `model.pte`, and converted inside, so that an app takes the one file for the other.
Weights have a scale per output channel; ranges of activations are those with the least squared error, by histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from latency_tables.executorch.int8 import quantized_pte_of_floats
from latency_tables.runtimes.executorch import ExecuTorch
from ofa.export.forms.base import Predict, Source
from ofa.export.forms.executorch import describe, load_images, lowered, usage
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes


class ExecuTorchInt8Form:
    name = "executorch-int8"
    file = "model_int8.pte"
    exact = False
    requires = ("executorch", "torch")
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        if source.calibration is None or not len(source.calibration):
            raise UserError("int8 needs images to calibrate with, and there are none", file=self.file)
        images = source.calibration.float().cpu().contiguous().split(1)
        content = lowered(source, lambda: quantized_pte_of_floats(source.network, images), file=self.file)
        write_bytes(folder / self.file, content)

    def load(self, folder: Path) -> Predict:
        return load_images(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return ExecuTorch().prepare_file(folder / self.file, threads=threads, input_shapes=[(1, *input_shape)])

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """How it was quantised, in how many parts XNNPACK runs it, and what runs on portable kernels, in float32."""
        assert source.calibration is not None
        return {
            "quantization": {
                "weights": "int8 per output channel",
                "activations": "int8 per tensor, static",
                "ranges": "histogram",
                "num_images": len(source.calibration),
                "ends": "float32",
            },
            **describe(folder / self.file),
        }
