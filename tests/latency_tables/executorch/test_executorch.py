from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx, nn

from latency_tables.runtimes import get_runtime
from search_spaces.common.errors import UserError

pytest.importorskip("executorch", reason="the extra 'executorch' is not installed: these runtimes are not tested")

from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

from latency_tables.executorch import program as executorch_program
from latency_tables.executorch.graph import for_xnnpack
from latency_tables.executorch.int8 import Grid, quantized_pte
from latency_tables.executorch.program import as_fed
from latency_tables.runtimes import executorch


class Gated(nn.Module):
    """What XNNPACK must not take apart: a squeeze-excitation gate, a pooling past the edge, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.Hardswish()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(8, 8, 1, bias=False)
        self.sigmoid = nn.Hardsigmoid()
        self.halve = nn.AvgPool2d(2, 2, ceil_mode=True)
        self.free = nn.Hardsigmoid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.conv(x))
        return self.free(self.halve(x * self.sigmoid(self.gate(self.pool(x)))))


@pytest.fixture
def gated() -> fx.GraphModule:
    return fx.symbolic_trace(Gated().eval())


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


@pytest.mark.parametrize("side", [8, 9])
def test_form_for_xnnpack_is_the_same_network(gated: fx.GraphModule, side: int) -> None:
    before = gated.gate.weight.clone()
    x = torch.randn(1, 3, side, side)
    network = for_xnnpack(gated, (3, side, side))
    torch.testing.assert_close(network(x), gated(x))
    assert torch.equal(gated.gate.weight, before)
    kinds = {type(leaf) for leaf in network.modules()}
    assert nn.Hardsigmoid not in kinds and not any(
        leaf.ceil_mode for leaf in network.modules() if type(leaf) is nn.AvgPool2d
    )


def test_everything_is_delegated_at_once_without_a_copy(gated: fx.GraphModule, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []
    lower = executorch_program.to_edge_transform_and_lower

    def spy(*arguments: Any, **keywords: Any) -> Any:
        graphs.append(lower(*arguments, **keywords))
        return graphs[-1]

    monkeypatch.setattr(executorch_program, "to_edge_transform_and_lower", spy)
    get_runtime("executorch").compile(gated, (3, 9, 9))  # type: ignore[attr-defined]
    calls = [node.name for node in graphs[0].exported_program().graph.nodes if node.op == "call_function"]
    assert calls == ["executorch_call_delegate", "getitem"]


def test_one_thread_is_one_thread() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(64, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding=1)))
    runtime: Any = get_runtime("executorch")
    artifact = runtime.compile(network, (64, 40, 40))

    def cores() -> float:
        """Cores that the process had during this thread's work: sleeping threads count nothing, spinning ones do."""
        call = runtime.load(artifact, (64, 40, 40), threads=threads)
        call()
        process, thread = time.process_time(), time.thread_time()
        for _ in range(20):
            call()
        return (time.process_time() - process) / (time.thread_time() - thread)

    threads = 1
    assert cores() < 1.1
    threads = 2
    gc.collect()
    assert cores() > 1.5


def test_number_of_threads_changes_only_when_nobody_has_the_pool() -> None:
    runtime: Any = get_runtime("executorch")
    artifact = runtime.compile(fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 2, 3))), (1, 8, 8))
    first = runtime.load(artifact, (1, 8, 8), threads=1)
    with pytest.raises(UserError, match=r"threads: networks on 1 threads are loaded.*got 2"):
        runtime.load(artifact, (1, 8, 8), threads=2)
    first()
    del first
    gc.collect()
    runtime.load(artifact, (1, 8, 8), threads=2)()


def test_thread_count_that_is_not_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executorch.portable_lib, "_unsafe_reset_threadpool", lambda threads: None)
    monkeypatch.setattr(executorch.portable_lib, "_threadpool_get_thread_count", lambda: 7)
    with pytest.raises(UserError, match=r"threads: ExecuTorch runs on 7 threads.*got 1"):
        executorch._set_threads(1)


def test_files_from_elsewhere(tmp_path: Path) -> None:
    """A program of the usual exporter takes its images channels-first."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    x = torch.randn(1, 3, 8, 8)
    exported = torch.export.export(network, (x,), strict=False)
    path = tmp_path / "usual.pte"
    path.write_bytes(to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().buffer)
    runtime: Any = get_runtime("executorch")
    call = runtime.prepare_file(path, threads=1)
    torch.testing.assert_close(call()[0], network(call.inputs[0]))
    with pytest.raises(UserError, match=r"takes inputs of \[\(1, 3, 8, 8\)\]"):
        runtime.prepare_file(path, threads=1, input_shapes=[(1, 3, 9, 9)])


def test_int8_with_real_calibration_inputs(gated: fx.GraphModule) -> None:
    """Ranges are those of the inputs given, which may lie anywhere."""
    images = [5 + 3 * torch.randn(1, 3, 9, 9) for _ in range(8)]
    artifact = quantized_pte(gated, images)
    call = executorch._forward(artifact, 1)
    given, made = (
        Grid(float(call.constant(f"{end}_scale")), int(call.constant(f"{end}_zp")))
        for end in ("input0", "output0")  # type: ignore[attr-defined]
    )
    call.inputs = [as_fed(given.quantize(images[0]))]  # type: ignore[attr-defined]
    result, expected = made.dequantize(call()[0]), gated(images[0])  # type: ignore[index]
    assert 10 * torch.log10(expected.square().sum() / (result - expected).square().sum()) > 25
    assert quantized_pte(gated, images) == artifact


def test_int8_pooling_of_maxima_keeps_the_grid() -> None:
    network = fx.symbolic_trace(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1)).eval()
    )
    images = [torch.randn(1, 3, 10, 10) for _ in range(4)]
    call = executorch._forward(quantized_pte(network, images), 1)
    x = (call.inputs[0].float() - call.constant("input0_zp")) * call.constant("input0_scale")  # type: ignore[attr-defined]
    result = (call()[0].float() - call.constant("output0_zp")) * call.constant("output0_scale")  # type: ignore[attr-defined,index]
    assert 10 * torch.log10(network(x).square().sum() / (result - network(x)).square().sum()) > 20
