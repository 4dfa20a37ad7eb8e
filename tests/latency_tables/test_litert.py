"""The runtimes of LiteRT and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import fx, nn

pytest.importorskip("ai_edge_litert")

from latency_tables.onnx.graph import to_onnx
from latency_tables.runtimes import FileRuntime, Portable, get_runtime
from latency_tables.runtimes.litert import random_inputs
from search_spaces.common.errors import UserError

SHAPE = (3, 8, 8)


def module() -> fx.GraphModule:
    torch.manual_seed(0)
    return fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU()))


@pytest.mark.parametrize("name", ["litert", "litert_int8"])
def test_files_run_as_what_was_compiled(name: str, tmp_path: Path) -> None:
    runtime = get_runtime(name)
    assert isinstance(runtime, Portable) and isinstance(runtime, FileRuntime)
    content = runtime.compile(module(), SHAPE)
    assert content == runtime.compile(module(), SHAPE)
    path = tmp_path / f"network{runtime.suffix}"
    path.write_bytes(content)
    calls = [
        runtime.prepare(module(), SHAPE, threads=1),
        runtime.load(content, SHAPE, threads=2),
        runtime.prepare_file(path, threads=1),
        runtime.prepare_file(path, threads=1, input_shapes=[(1, 8, 8, 3)]),
    ]
    x = torch.from_numpy(random_inputs((1, 8, 8, 3), num=1)[0]).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = module()(x).permute(0, 2, 3, 1).numpy()
    for call in calls:
        found = call().output()
        assert np.abs(found - expected).max() < (1e-5 if name == "litert" else 0.05)
        assert np.array_equal(found, call().output())


def test_the_input_is_set_once() -> None:
    """A call runs, and leaves the input as it is."""
    call = get_runtime("litert").prepare(module(), SHAPE, threads=1)
    model = call()
    first = model.output()
    model.set_inputs(np.zeros((1, 8, 8, 3), np.float32))
    assert np.array_equal(model.output(), first)  # nothing runs but by a call
    assert not np.array_equal(call().output(), first)
    assert np.array_equal(call().output(), model.output())


def test_files_that_are_none(tmp_path: Path) -> None:
    runtime = get_runtime("litert")
    with pytest.raises(UserError, match="no such TFLite file"):
        runtime.prepare_file(tmp_path / "none.tflite", threads=1)
    other = tmp_path / "network.onnx"
    other.write_bytes(to_onnx(module(), SHAPE).SerializeToString())
    with pytest.raises(UserError, match="not a TFLite model") as raised:
        runtime.prepare_file(other, threads=1)
    assert raised.value.file == other
    torn = tmp_path / "torn.tflite"
    torn.write_bytes(runtime.compile(module(), SHAPE)[:300])
    with pytest.raises(UserError, match="not a TFLite model"):
        runtime.prepare_file(torn, threads=1)
    torn.write_bytes(runtime.compile(module(), SHAPE))
    with pytest.raises(UserError, match="its inputs are"):
        runtime.prepare_file(torn, threads=1, input_shapes=[(1, 3, 8, 8)])
