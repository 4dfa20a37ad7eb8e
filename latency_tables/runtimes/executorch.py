"""ExecuTorch on the CPU: XNNPACK, images channels-last, single precision or int8."""

from __future__ import annotations

import importlib.metadata
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import portable_lib
from torch import Tensor, fx

from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.int8 import quantized_pte
from latency_tables.executorch.program import as_fed, export, to_pte
from search_spaces.common.errors import UserError

#: by ExecuTorch's number of the type (`ScalarType`)
_TYPES = {0: torch.uint8, 1: torch.int8, 3: torch.int32, 4: torch.int64, 5: torch.float16, 6: torch.float32}


class ExecuTorch:
    """One program per network; a call is one `forward` with the same input, its result in the program's own memory.

    What it returns, `[Tensor]`, is overwritten by the next call.
    """

    name = "executorch"
    precision = "float32"
    suffix = ".pte"

    @property
    def version(self) -> str:
        return importlib.metadata.version("executorch")

    def prepare(self, module: fx.GraphModule, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return self.load(self.compile(module, input_shape), input_shape, threads=threads)

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        (x,) = random_inputs(input_shape, 1)
        return to_pte(export(for_xnnpack(module, input_shape), x), x)

    def load(self, artifact: bytes, input_shape: tuple[int, ...], *, threads: int) -> Callable[[], object]:
        return _forward(artifact, threads)

    def prepare_file(
        self, path: Path, *, threads: int, input_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> Callable[[], object]:
        """The `forward` of a `.pte` file on random input. Its shapes are the file's: `input_shapes` must agree."""
        if not path.is_file():
            raise UserError("no such ExecuTorch file", file=path)
        try:
            artifact = path.read_bytes()
            return _forward(artifact, threads, shapes=input_shapes, layouts=_layouts(artifact))
        except UserError:
            raise
        except Exception as error:  # of what reads the file, each kind of damage has its own
            raise UserError(f"not a program that ExecuTorch can run here ({error})", file=path) from None


class ExecuTorchInt8(ExecuTorch):
    """As `ExecuTorch`, quantised on random input; int8 in and out, as between the int8 layers of a network."""

    name = "executorch_int8"
    precision = "int8"

    def compile(self, module: fx.GraphModule, input_shape: tuple[int, ...]) -> bytes:
        return quantized_pte(module, random_inputs(input_shape, 4))


def random_inputs(input_shape: tuple[int, ...], num: int) -> list[Tensor]:
    """Always the same standard normal inputs of `(1, *input_shape)`."""
    generator = torch.Generator().manual_seed(0)
    return [as_fed(torch.randn(1, *input_shape, generator=generator)) for _ in range(num)]


#: The loaded programs by their number of threads. ExecuTorch has one pool of threads in a process, to which a program
#: holds a pointer from when it is loaded: a pool of another size may only be made when no program uses the old one.
_LOADED: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def _forward(
    artifact: bytes,
    threads: int,
    *,
    shapes: Sequence[tuple[int, ...]] | None = None,
    layouts: Sequence[list[int]] | None = None,
) -> Forward:
    """Images go in channels-last, or as `layouts` (of `_layouts`) say: a program takes any and computes nonsense."""
    _set_threads(threads)
    program = portable_lib._load_for_executorch_from_buffer(artifact)
    forward = Forward(program, artifact)
    meta = program.method_meta("forward")
    infos = [meta.input_tensor_meta(index) for index in range(meta.num_inputs())]
    sides = [tuple(info.sizes()) for info in infos]
    if shapes is not None and [tuple(shape) for shape in shapes] != sides:
        raise UserError(f"the program takes inputs of {sides}", key="input_shapes", value=list(shapes))
    inputs = [_random(shape, _TYPES[info.dtype()]) for shape, info in zip(sides, infos, strict=True)]
    plain = [False] * len(inputs) if layouts is None else [layout == sorted(layout) for layout in layouts]
    forward.inputs = [x if stays else as_fed(x) for x, stays in zip(inputs, plain, strict=True)]
    forward()
    _LOADED[forward] = threads
    return forward


def load_function(artifact: bytes) -> Callable[[Tensor], Tensor]:
    """What a program of one float32 input computes: on one thread, or on as many as other loaded programs have. Images
    go in as they lie in the program's description. Raises `UserError` if it is no program that runs here.
    """
    threads = next(iter(_LOADED.values()), 1)
    _set_threads(threads)
    try:
        (layout,) = _layouts(artifact)
        forward = Forward(portable_lib._load_for_executorch_from_buffer(artifact), artifact)
    except Exception as error:  # of what reads the file, each kind of damage has its own
        raise UserError(f"not a program that ExecuTorch can run here ({error})") from None
    _LOADED[forward] = threads
    plain = layout == sorted(layout)

    def compute(x: Tensor) -> Tensor:
        forward.inputs = [x.contiguous() if plain else as_fed(x)]
        outputs: Any = forward()
        result: Tensor = outputs[0].clone()
        return result

    return compute


class Forward:
    """A call of a program. It holds the bytes too, from which the program reads its weights."""

    def __init__(self, program: Any, artifact: bytes) -> None:
        self._program, self._artifact = program, artifact
        self.inputs: list[Tensor] = []

    def __call__(self) -> object:
        return self._program.forward(self.inputs, clone_outputs=False)

    def constant(self, name: str) -> object:
        """What the further method `name` of the program returns."""
        return self._program.run_method(name, [])[0]


def _layouts(artifact: bytes) -> list[list[int]]:
    """The order in memory of the sides of each input, which the running program does not tell."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    plan = deserialize_pte_binary(artifact).program.execution_plan[0]
    return [[int(side) for side in plan.values[index].val.dim_order] for index in plan.inputs]


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    if dtype is torch.int8:  # as the int8 numbers of such an input are
        return (37 * torch.randn(shape, generator=generator)).round().clamp(-128, 127).to(dtype)
    return torch.randint(0, 2, shape, generator=generator).to(dtype)


def _set_threads(threads: int) -> None:
    """Raises `UserError` while programs of another number of threads are loaded, or if ExecuTorch does not comply."""
    if portable_lib._threadpool_get_thread_count() != threads:
        others = sorted({count for count in _LOADED.values() if count != threads})
        if others:
            raise UserError(
                f"networks on {others[0]} threads are loaded, and ExecuTorch has one pool of threads in a process",
                key="threads",
                value=threads,
                hint="Let go of them first, or use another process",
            )
        portable_lib._unsafe_reset_threadpool(threads)
    if (count := portable_lib._threadpool_get_thread_count()) != threads:
        raise UserError(f"ExecuTorch runs on {count} threads here and cannot be changed", key="threads", value=threads)
