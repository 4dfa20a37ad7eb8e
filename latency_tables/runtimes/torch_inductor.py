"""PyTorch compiled ahead of time (AOTInductor) for this CPU: C++ of its own for every network."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx

from latency_tables.folding import fold_batch_norm
from latency_tables.runtimes.inductor_compiling import compile_package
from search_spaces.common.errors import UserError


class TorchInductor:
    """Single precision, channels-last, batch norms folded.

    Every network is written as C++ and compiled, in about `seconds_to_compile`; a table of all operators of a space
    takes as many times that, as a warning says when the runtime is made. A `.pt2` file has machine code of the
    processor that it was compiled on. The threads are torch's: see `timing.quiet_process`.
    """

    name = "torch_inductor"
    precision = "float32"
    suffix = ".pt2"
    #: of one core, a block and a large network; the first of a machine takes half a minute more
    seconds_to_compile = (2.0, 20.0)

    def __init__(self) -> None:
        require_compiler(key="runtime", value=self.name)
        warnings.warn(
            "torch_inductor compiles every operator and network for {:.0f} to {:.0f} s of a core: "
            "a table of a space takes as many times that".format(*self.seconds_to_compile),
            stacklevel=2,
        )

    @property
    def version(self) -> str:
        return str(torch.__version__)

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return self.load(self.compile(module, input_shape), input_shape, threads=threads)

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        """The content of a `.pt2` file: see `compile_package`."""
        network = fold_batch_norm(module).to(memory_format=torch.channels_last)
        with torch.no_grad():
            return compile_package(torch.export.export(network, (_input(input_shape),), strict=False))

    def load(self, artifact: bytes, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "network.pt2")
                path.write_bytes(artifact)
                return _call(path, _input(input_shape))
        except (OSError, RuntimeError):
            _require_space(2 * len(artifact))
            raise

    def prepare_file(
        self, path: Path, *, threads: int, input_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> Callable[[], object]:
        """A `.pt2` of `compile`, for its one input of `input_shapes` (with batch), which the file does not tell."""
        if not path.is_file():
            raise UserError("no such AOTInductor file", file=path)
        if input_shapes is None or len(input_shapes) != 1:
            raise UserError("the file does not tell its input: give one shape", file=path, key="input_shapes")
        try:
            return _call(path, _input(tuple(input_shapes[0])[1:]))
        except RuntimeError as error:
            _require_space(path.stat().st_size)
            raise UserError(f"not a package that AOTInductor can run here ({error})", file=path) from None


def require_compiler(*, key: str, value: str) -> None:
    """Raises `UserError` where there is no C++ compiler for what `key: value` asks for."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise UserError(
            f"needs a C++ compiler, and {compiler!r} is not on the path",
            key=key,
            value=value,
            hint="apt-get install g++, or name one in the environment variable CXX",
        )


def _require_space(num_bytes: int) -> None:
    """Raises `UserError` where torch, which unpacks a package in the temporary folder, finds no room for it there."""
    folder = tempfile.gettempdir()
    if (free := shutil.disk_usage(folder).free) < num_bytes:
        raise UserError(
            f"no space left to unpack a network: that takes {num_bytes / 2**20:.1f} MB, {free / 2**20:.1f} MB are free",
            file=folder,
            hint="Free some, or name another folder in the environment variable TMPDIR",
        )


def _input(input_shape: tuple[int, ...]) -> torch.Tensor:
    x = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _call(path: Path, x: torch.Tensor) -> Callable[[], object]:
    from torch._inductor import aoti_load_package

    compiled: Any = aoti_load_package(str(path))

    def call() -> object:
        with torch.inference_mode():
            return compiled(x)

    call()
    return call
