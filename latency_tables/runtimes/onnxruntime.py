"""ONNX Runtime on the CPU, single precision or int8, all graph optimisations on, inputs and outputs bound once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from torch import fx

from latency_tables.onnx.graph import to_onnx
from latency_tables.onnx.int8 import to_onnx_int8
from search_spaces.common.errors import UserError


class OnnxRuntime:
    """One session per network; calls reuse its input and output buffers, so that only the inference is timed."""

    name = "onnxruntime"
    precision = "float32"
    suffix = ".onnx"

    @property
    def version(self) -> str:
        return str(onnxruntime.__version__)

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return self.load(self.compile(module, input_shape), input_shape, threads=threads)

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        return bytes(to_onnx(module, input_shape).SerializeToString())

    def load(self, artifact: bytes, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return _bind(_session(artifact, threads), [(1, *input_shape)])

    def prepare_file(
        self, path: Path, *, threads: int, input_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> Callable[[], object]:
        """A session of an `.onnx` file. `input_shapes` (with batch) are needed where the file leaves sides open."""
        if not path.is_file():
            raise UserError("no such ONNX file", file=path)
        try:
            session = _session(str(path), threads)
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise UserError(f"not an ONNX model that ONNX Runtime can load ({error})", file=path) from None
        shapes = (
            [_closed(argument.shape, path, argument.name) for argument in session.get_inputs()]
            if input_shapes is None
            else input_shapes
        )
        return _bind(session, shapes)


class OnnxRuntimeInt8(OnnxRuntime):
    """As `OnnxRuntime`, quantised on random input: uint8 activations, uint8 in and out; see `onnx.int8`."""

    name = "onnxruntime_int8"
    precision = "int8"

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        return bytes(to_onnx_int8(module, input_shape).SerializeToString())


#: the types of inputs and outputs that are bound
_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def _session(model: bytes | str, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Hundreds of sessions live side by side: the pools of idle ones must not spin beside the one being timed.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _bind(session: onnxruntime.InferenceSession, shapes: Sequence[tuple[int, ...]]) -> Callable[[], object]:
    generator = np.random.default_rng(0)
    binding = session.io_binding()
    arrays: list[np.ndarray] = []
    for argument, shape in zip(session.get_inputs(), shapes, strict=True):
        if argument.type not in _TYPES:
            raise UserError(f"input {argument.name!r} is of type {argument.type}, not float32 or an 8 bit integer")
        array: np.ndarray = generator.standard_normal(shape, dtype=np.float32)
        if argument.type != "tensor(float)":
            array = like_quantized(array, _TYPES[argument.type])
        arrays.append(array)
        binding.bind_cpu_input(argument.name, array)
    for result in session.get_outputs():
        if all(isinstance(side, int) for side in result.shape) and result.type in _TYPES:
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(result.shape, _TYPES[result.type])
            binding.bind_ortvalue_output(result.name, value)
        else:
            binding.bind_output(result.name, "cpu")

    def call(keep: list[np.ndarray] = arrays) -> object:  # the binding holds plain addresses of these arrays
        session.run_with_iobinding(binding)
        return binding

    return call


def like_quantized(x: np.ndarray, kind: type[np.generic]) -> np.ndarray:
    """8 bit numbers that are to their range as standard normal `x` are to 3.45 either way, where such are quantised."""
    middle = 128 if kind is np.uint8 else 0
    return np.clip(np.rint(37 * x) + middle, middle - 128, middle + 127).astype(kind)


def _closed(shape: Sequence[int | str | None], path: Path, name: str) -> tuple[int, ...]:
    """The input shape with an open batch set to 1; other open sides are an error."""
    sides = [1 if index == 0 and not isinstance(side, int) else side for index, side in enumerate(shape)]
    if not all(isinstance(side, int) for side in sides):
        raise UserError(
            f"input {name!r} has open sides {list(shape)}", file=path, hint="Give the input shapes to measure"
        )
    return tuple(int(side) for side in sides if side is not None)
