"""The runtimes that run the models of bundles, by the suffix of their files."""

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any, Callable, Sequence

import numpy as np

from .problem import Problem

Call = Callable[[], object]
#: (content of the file, shape of the input, threads) -> one inference
Load = Callable[[bytes, Sequence[int], int], Call]

#: what brings the runtime of models with this suffix
PACKAGES = {".onnx": "onnxruntime", ".tflite": "ai-edge-litert", ".pte": "executorch"}


def get_runtime(suffix: str) -> tuple[str, Load]:
    """(version, loader) of the installed runtime for models with this suffix."""
    if suffix not in PACKAGES:
        raise Problem(f"no runtime is known for {suffix} models; known: {', '.join(PACKAGES)}")
    known = {".onnx": (_onnxruntime,), ".tflite": (_litert, _tflite_runtime), ".pte": (_executorch,)}
    missing = ""
    for find in known[suffix]:
        try:
            return find()
        except ImportError as error:
            missing = missing or str(error)
    raise Problem(f"{suffix} models need a runtime ({missing}): pip install {PACKAGES[suffix]}")


def _onnxruntime() -> tuple[str, Load]:
    ort = import_module("onnxruntime")

    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # many sessions live side by side: the pools of idle ones must not spin beside the one being timed
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
        binding, given = session.io_binding(), session.get_inputs()[0]
        array = _random(shape, np.dtype(types[given.type]))
        binding.bind_cpu_input(given.name, array)
        for result in session.get_outputs():
            binding.bind_output(result.name, "cpu")
            if all(isinstance(side, int) for side in result.shape):
                value = ort.OrtValue.ortvalue_from_shape_and_type(result.shape, types[result.type])
                binding.bind_ortvalue_output(result.name, value)

        def call(keep: np.ndarray = array) -> object:  # the binding holds the plain address of this array
            session.run_with_iobinding(binding)
            return binding

        return call

    return str(ort.__version__), load


def _litert() -> tuple[str, Load]:
    return metadata.version("ai-edge-litert"), _tflite(import_module("ai_edge_litert.interpreter"))


def _tflite_runtime() -> tuple[str, Load]:
    version = metadata.version("tflite-runtime")
    return f"tflite_runtime {version}", _tflite(import_module("tflite_runtime.interpreter"))


def _tflite(module: Any) -> Load:
    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        interpreter = module.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        for about in interpreter.get_input_details():  # the model's own layout of the image: (1, H, W, C), mostly
            interpreter.set_tensor(about["index"], _random(about["shape"], np.dtype(about["dtype"])))
        # the interpreter's own check of references at every call is no part of an inference
        invoke: Call = getattr(getattr(interpreter, "_interpreter", None), "Invoke", interpreter.invoke)

        def call(keep: object = interpreter) -> object:
            return invoke()

        return call

    return load


def _executorch() -> tuple[str, Load]:
    torch, runtime = import_module("torch"), import_module("executorch.runtime").Runtime.get()
    version, pool = metadata.version("executorch"), import_module("executorch.extension.pybindings.portable_lib")

    def load(content: bytes, shape: Sequence[int], threads: int) -> Call:
        if pool._threadpool_get_thread_count() != threads:  # before there is any method that uses the old ones
            pool._unsafe_reset_threadpool(threads)
        program = runtime.load_program(content)
        method = program.load_method("forward")
        kind = {0: np.uint8, 1: np.int8, 6: np.float32}[method.metadata.input_tensor_meta(0).dtype()]
        x = torch.from_numpy(_random(shape, np.dtype(kind)))  # channels-last, as such programs take it
        inputs = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x]

        def call(keep: object = program) -> object:
            return method.execute(inputs)

        return call

    return version, load


def _random(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.issubdtype(dtype, np.integer):
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, size=tuple(shape), dtype=dtype)
    return rng.standard_normal(tuple(shape)).astype(dtype)
