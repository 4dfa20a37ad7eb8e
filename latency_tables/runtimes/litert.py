"""LiteRT (TensorFlow Lite) on the CPU with XNNPACK, in single precision or in int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import fx

from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.interpreter import LoadedModel
from latency_tables.tflite.products import products_as_layers
from search_spaces.common.errors import UserError, in_file

#: random inputs that an int8 network is calibrated with where only its speed counts
_CALIBRATION = 2


class LiteRT:
    """One interpreter per network, whose input is set once: a call is `Invoke` and nothing else."""

    name = "litert"
    precision = "float32"
    suffix = ".tflite"

    @property
    def version(self) -> str:
        return version("ai-edge-litert")

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return self.load(self.compile(module, input_shape), input_shape, threads=threads)

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        return to_tflite(module, input_shape).to_bytes()

    def load(self, artifact: bytes, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        """`input_shape` is torch's, without batch; images lie channels-last in the file."""
        return _ready(LoadedModel(artifact, threads=threads), None)

    def prepare_file(
        self, path: Path, *, threads: int, input_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> Callable[[], object]:
        """An interpreter of a `.tflite` file. `input_shapes` (with batch), if given, must be those of the file."""
        if not path.is_file():
            raise UserError("no such TFLite file", file=path)
        with in_file(path):
            return _ready(LoadedModel(path.read_bytes(), threads=threads), input_shapes)


class LiteRTInt8(LiteRT):
    """Full-integer networks: weights per channel, activations, input and output in int8. The ranges come from random
    inputs: good for measuring, not for deploying (see `tflite.int8.quantize`).
    """

    name = "litert_int8"
    precision = "int8"

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        model = to_tflite(module, input_shape)
        return products_as_layers(quantize(model, random_inputs(model.input.shape))).to_bytes()


def random_inputs(shape: tuple[int, ...], *, num: int = _CALIBRATION, seed: int = 0) -> list[NDArray[np.float32]]:
    """`num` standard normal arrays of `shape`; equal for equal seeds."""
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(shape, dtype=np.float32) for _ in range(num)]


def _ready(model: LoadedModel, shapes: Sequence[tuple[int, ...]] | None) -> Callable[[], object]:
    """The call of one inference, which returns the model to ask for its output."""
    if shapes is not None and [tuple(shape) for shape in shapes] != model.input_shapes:
        raise UserError(f"its inputs are {model.input_shapes}, not {[tuple(shape) for shape in shapes]}")
    model.set_inputs(*(random_inputs(shape, num=1)[0] for shape in model.input_shapes))
    return model.call
