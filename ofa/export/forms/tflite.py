"""`model.tflite`: float32 for LiteRT (TensorFlow Lite), what phones and browsers run.

Input `image` (1, H, W, C), channels-last as TFLite has it, and output `logits` (1, num_classes). One image at a time:
that is what an app classifies, and what the runtime is fastest with. Operator for operator the model that candidates
are measured with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latency_tables.runtimes.litert import LiteRT
from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.interpreter import LoadedModel
from ofa.export.forms.base import INPUT, OUTPUT, Predict, Source
from search_spaces.common.errors import in_file
from search_spaces.common.files import write_bytes


def usage(file: str) -> str:
    """The file as any model of one float32 image and float32 logits is used."""
    return f"""\
import numpy as np
from ai_edge_litert.interpreter import Interpreter

run = Interpreter("{file}").get_signature_runner()


def logits(image):
    return run({INPUT}=np.ascontiguousarray(image.transpose(0, 2, 3, 1)))["{OUTPUT}"][0]
"""


class TfliteForm:
    name = "tflite"
    file = "model.tflite"
    exact = True
    requires = ("ai-edge-litert",)
    usage = usage(file)

    def write(self, source: Source, folder: Path) -> None:
        with in_file(self.file):
            content = float_model(source).to_bytes()
        write_bytes(folder / self.file, content)

    def load(self, folder: Path) -> Predict:
        return load_images(folder / self.file)

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
        return prepare_call(folder / self.file, input_shape, threads=threads)

    def examine(self, source: Source, folder: Path) -> Mapping[str, Any]:
        """Which operators XNNPACK leaves to LiteRT's own, slower kernels."""
        return {"outside_xnnpack": outside_xnnpack(folder / self.file)}


def float_model(source: Source) -> TFLiteModel:
    """The network, its ends named. Raises `UserError` naming an operator that cannot be converted."""
    model = to_tflite(source.network, source.input_shape)
    model.input.name, model.output.name = INPUT, OUTPUT
    return model


def as_fed(images: Tensor) -> list[NDArray[np.float32]]:
    """Inputs (N, ...) as a model takes them, one by one: maps (1, H, W, C), others (1, ...) as they are."""
    rows = images.permute(0, 2, 3, 1) if images.ndim == 4 else images
    return list(rows.unsqueeze(1).contiguous().float().cpu().numpy())


def load_images(path: Path, *, delegate: bool = True) -> Predict:
    """What LiteRT computes for images (N, C, H, W), one after another; `delegate`: with XNNPACK.

    Raises `UserError` if it cannot load the file.
    """
    with in_file(path):
        model = LoadedModel(path.read_bytes(), delegate=delegate)

    def predict(images: Tensor) -> Tensor:
        outputs = []
        for image in as_fed(images):
            model.set_inputs(image)
            outputs.append(torch.from_numpy(model.call().output().copy()))
        return torch.cat(outputs)

    return predict


def prepare_call(path: Path, input_shape: tuple[int, int, int], *, threads: int) -> Callable[[], object]:
    channels, *sides = input_shape
    return LiteRT().prepare_file(path, threads=threads, input_shapes=[(1, *sides, channels)])


def outside_xnnpack(path: Path) -> list[str]:
    """Kinds of operators, each once."""
    with in_file(path):
        return sorted(set(LoadedModel(path.read_bytes()).left_to_kernels))
