"""The runtimes that need more than a CPU and Python: what can be tested without a GPU or a compiler."""

from __future__ import annotations

import types
from typing import Any

import pytest
import torch
from torch import fx, nn

from latency_tables.runtimes import get_runtime
from latency_tables.runtimes.torch_cuda import FLUSHED_BYTES, CudaCall
from search_spaces.common.errors import UserError


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["torch_cuda", "torch_cuda_fp16"])
def test_no_gpu(name: str) -> None:
    with pytest.raises(UserError, match=f"no CUDA device.*{name}"):
        get_runtime(name)


class FakeCuda:
    """Writes down what would be asked of the GPU."""

    def __init__(self) -> None:
        self.log: list[str] = []
        cuda = self

        class Event:
            def __init__(self, *, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                cuda.log.append("event")

            def elapsed_time(self, end: object) -> float:
                return 1.5

        self.Event = Event

    def synchronize(self) -> None:
        self.log.append("wait")


def test_call_flushes_waits_runs_and_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda()
    network = fx.symbolic_trace(nn.Conv2d(1, 2, 3).eval())
    network.register_forward_hook(lambda *_: cuda.log.append("run"))
    empty, sizes = torch.empty, []

    def small(count: int, **keywords: Any) -> torch.Tensor:
        sizes.append(4 * count)
        buffer = empty(1, **keywords)
        return types.SimpleNamespace(zero_=lambda: cuda.log.append("flush") or buffer)  # type: ignore[return-value,func-returns-value]

    x = torch.randn(1, 1, 5, 5)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "cuda", cuda)
        patch.setattr(torch, "empty", small)
        call = CudaCall(network, x)
        result = call()
        assert call.elapsed_ms == 1.5
    assert cuda.log == ["flush", "wait", "event", "run", "event", "wait"] and sizes == [FLUSHED_BYTES]
    torch.testing.assert_close(result, network(x))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["torch_cuda", "torch_cuda_fp16"])
def test_events_take_less_than_the_call(name: str) -> None:
    import time

    runtime = get_runtime(name)
    call: Any = runtime.prepare(fx.symbolic_trace(nn.Conv2d(64, 64, 3)), (64, 56, 56), threads=1)
    for _ in range(5):
        start = time.perf_counter()
        result = call()
        wall_ms = 1e3 * (time.perf_counter() - start)
    assert result.is_cuda and result.dtype == runtime.dtype and 0 < call.elapsed_ms < wall_ms  # type: ignore[attr-defined]


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"C\+\+ compiler.*no-such-compiler.*torch_inductor"):
        get_runtime("torch_inductor")


def test_the_user_is_told_how_long_compiling_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "true")  # a program that is everywhere
    with pytest.warns(UserWarning, match="for 2 to 20 s"):
        get_runtime("torch_inductor")
