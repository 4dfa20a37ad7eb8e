"""What the conformance tests know of single runtimes: where they run, what a call was fed and what it gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, fx

from latency_tables.runtimes import EXTRAS, RUNTIMES, Runtime, get_runtime
from search_spaces.common.errors import UserError

#: so many dB of signal over quantisation noise are enough for an operator of random weights; 10 less for a network
LEAST_SQNR = {"onnxruntime_int8": 25.0, "executorch_int8": 20.0, "litert_int8": 20.0}


class Inference(NamedTuple):
    x: Tensor
    y: Tensor


def some_runtimes(*quick: str) -> list[Any]:
    """All runtimes as parameters of a test; `quick` ones always, the others in the slow tests or those with a GPU."""

    def marks(name: str) -> tuple[Any, ...]:
        if "cuda" in name:
            return (pytest.mark.gpu,)
        return () if name in quick else (pytest.mark.slow,)

    return [pytest.param(name, marks=marks(name)) for name in RUNTIMES.names()]


def runtime_here(name: str) -> Runtime:
    """The runtime; the test is skipped where an optional package, a compiler or a GPU is missing."""
    try:
        return get_runtime(name)
    except UserError as error:
        if name in EXTRAS or name.startswith(("torch_cuda", "torch_inductor")):
            pytest.skip(str(error))
        raise


def infer(runtime: Runtime, module: fx.GraphModule, input_shape: tuple[int, ...]) -> Inference:
    """One call of the module as prepared, in float32 whatever the runtime computes in."""
    return _READ[runtime.name](runtime, module, input_shape)


def settle(network: fx.GraphModule, input_shape: tuple[int, ...]) -> None:
    """Give batch norms the statistics of random images: the signal of a fresh network dies out, and int8 with it."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the average of all that comes
    network.train()
    with torch.no_grad():
        network(torch.randn(64, *input_shape))


def check_close(runtime: Runtime, result: Tensor, expected: Tensor, *, whole: bool = False) -> None:
    assert result.shape == expected.shape
    if runtime.name in LEAST_SQNR:
        noise = (result - expected).square().sum().clamp(min=1e-30)
        sqnr = float(10 * torch.log10(expected.square().sum() / noise))
        assert sqnr > LEAST_SQNR[runtime.name] - 10 * whole, f"{sqnr:.1f} dB"
    elif runtime.precision == "float16":
        torch.testing.assert_close(result, expected, rtol=2e-2, atol=2e-3)
    else:
        torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


def _torch(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    x = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    result = runtime.prepare(module, shape, threads=1)()
    return Inference(x, result.float().cpu())


def _onnx(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    x = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
    result = runtime.prepare(module, shape, threads=1)().copy_outputs_to_cpu()[0]
    return Inference(torch.from_numpy(x), torch.from_numpy(result))


def _onnx_int8(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    from latency_tables.onnx.int8 import edge_grids
    from latency_tables.runtimes.onnxruntime import like_quantized

    artifact = runtime.compile(module, shape)
    given, made = edge_grids(onnx.load_from_string(artifact))
    q = like_quantized(np.random.default_rng(0).standard_normal((1, *shape), np.float32), np.uint8)
    result = runtime.load(artifact, shape, threads=1)().copy_outputs_to_cpu()[0]
    assert result.dtype == np.uint8
    pairs = ((q, given), (result, made))
    return Inference(*(torch.from_numpy((v.astype(np.float32) - grid.zero_point) * grid.scale) for v, grid in pairs))


def _executorch(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    call = runtime.prepare(module, shape, threads=1)
    result = call()[0]
    return Inference(call.inputs[0], result.clone())


def _executorch_int8(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    call = runtime.prepare(module, shape, threads=1)
    result = call()[0].clone()
    assert result.dtype == torch.int8
    pairs = ((call.inputs[0], "input0"), (result, "output0"))
    return Inference(*((q.float() - call.constant(f"{end}_zp")) * call.constant(f"{end}_scale") for q, end in pairs))


def _litert(runtime: Any, module: fx.GraphModule, shape: tuple[int, ...]) -> Inference:
    """Images lie channels-last in its files."""
    lies = (1, *shape[1:], shape[0]) if len(shape) == 3 else (1, *shape)
    result = runtime.prepare(module, shape, threads=1)().output()
    pair = [torch.from_numpy(array) for array in (np.random.default_rng(0).standard_normal(lies, np.float32), result)]
    return Inference(*(part.permute(0, 3, 1, 2).contiguous() if part.ndim == 4 else part for part in pair))


_READ: dict[str, Callable[[Any, fx.GraphModule, tuple[int, ...]], Inference]] = {
    "torch": _torch,
    "torch_inductor": _torch,
    "torch_cuda": _torch,
    "torch_cuda_fp16": _torch,
    "onnxruntime": _onnx,
    "onnxruntime_int8": _onnx_int8,
    "litert": _litert,
    "litert_int8": _litert,
    "executorch": _executorch,
    "executorch_int8": _executorch_int8,
}
