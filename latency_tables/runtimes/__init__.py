"""What executes a network on this machine. One file a runtime, one line here; imported when asked for.

This module imports neither torch nor any runtime, so that config errors answer at once.
"""

from __future__ import annotations

from collections.abc import Callable

from latency_tables.runtimes.base import FileRuntime, Portable, Runtime
from search_spaces.common.errors import UserError
from search_spaces.common.registry import Registry

__all__ = ["RUNTIMES", "FileRuntime", "Portable", "Runtime", "get_runtime"]

RUNTIMES: Registry[Callable[[], Runtime]] = Registry(
    "runtime", entry_points="ofa.runtimes", makes=("name", "precision", "version", "prepare")
)

#: runtime -> the extra of setup.cfg that brings its packages, for those that a plain install lacks
EXTRAS: dict[str, str] = {
    "litert": "litert",
    "litert_int8": "litert",
    "executorch": "executorch",
    "executorch_int8": "executorch",
}


@RUNTIMES.register("torch")
def _torch() -> Runtime:
    from latency_tables.runtimes.torch_eager import TorchEager

    return TorchEager()


@RUNTIMES.register("onnxruntime")
def _onnxruntime() -> Runtime:
    from latency_tables.runtimes.onnxruntime import OnnxRuntime

    return OnnxRuntime()


@RUNTIMES.register("litert")
def _litert() -> Runtime:
    from latency_tables.runtimes.litert import LiteRT

    return LiteRT()


@RUNTIMES.register("litert_int8")
def _litert_int8() -> Runtime:
    from latency_tables.runtimes.litert import LiteRTInt8

    return LiteRTInt8()


@RUNTIMES.register("onnxruntime_int8")
def _onnxruntime_int8() -> Runtime:
    from latency_tables.runtimes.onnxruntime import OnnxRuntimeInt8

    return OnnxRuntimeInt8()


@RUNTIMES.register("executorch")
def _executorch() -> Runtime:
    from latency_tables.runtimes.executorch import ExecuTorch

    return ExecuTorch()


@RUNTIMES.register("executorch_int8")
def _executorch_int8() -> Runtime:
    from latency_tables.runtimes.executorch import ExecuTorchInt8

    return ExecuTorchInt8()


@RUNTIMES.register("torch_inductor")
def _torch_inductor() -> Runtime:
    from latency_tables.runtimes.torch_inductor import TorchInductor

    return TorchInductor()


@RUNTIMES.register("torch_cuda")
def _torch_cuda() -> Runtime:
    from latency_tables.runtimes.torch_cuda import TorchCuda

    return TorchCuda()


@RUNTIMES.register("torch_cuda_fp16")
def _torch_cuda_fp16() -> Runtime:
    from latency_tables.runtimes.torch_cuda import TorchCudaFp16

    return TorchCudaFp16()


def get_runtime(name: str) -> Runtime:
    """The runtime `name`, ready to use. Raises `UserError` for an unknown name or a package that is not installed."""
    load = RUNTIMES.get(name, key="runtime")
    try:
        return load()
    except ModuleNotFoundError as error:
        package = (error.name or str(error)).split(".")[0]
        extra = EXTRAS.get(name)
        hint = f"pip install {package}" if extra is None else f"pip install 'ofa-nas[{extra}]'"
        raise UserError(
            f"needs the package {package!r}, which is not installed", key="runtime", value=name, hint=hint
        ) from error
