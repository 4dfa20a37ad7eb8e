from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import fx, nn

from latency_tables.onnx.graph import to_onnx
from latency_tables.onnx.int8 import Grid, edge_grids, quantize, to_onnx_int8
from search_spaces import get_space
from search_spaces.plain import build_network
from tests.latency_tables.runtime_calls import settle


def run(model: onnx.ModelProto, x: np.ndarray, *, optimized: bool = True) -> np.ndarray:
    """The float32 reading of what `model` makes of float32 `x`."""
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given, made = edge_grids(model)
    q = np.clip(np.rint(x / given.scale) + given.zero_point, 0, 255).astype(np.uint8)
    result = session.run(None, {session.get_inputs()[0].name: q})[0]
    assert result.dtype == np.uint8
    return (result.astype(np.float32) - made.zero_point) * made.scale


def sqnr(result: np.ndarray, expected: np.ndarray) -> float:
    return float(10 * np.log10(np.square(expected).sum() / np.square(result - expected).sum()))


def test_grid_has_zero_and_the_ends() -> None:
    for low, high in ((-1.0, 3.0), (2.0, 5.0), (-4.0, -1.0), (0.0, 0.0)):
        grid = Grid.spanning(low, high)
        ends = [(q - grid.zero_point) * grid.scale for q in (0, 255)]
        assert (
            ends[0] <= min(low, 0) + grid.scale and ends[1] >= max(high, 0) - grid.scale and 0 <= grid.zero_point <= 255
        )


@pytest.mark.parametrize("name", ["mobilenet_v3_digits", "vit_nano"])
def test_network_calibrated_on_real_inputs(name: str) -> None:
    space = get_space({"name": name}, num_classes=10, in_channels=1)
    architecture = space.decode(space.smallest())[0]
    network = build_network(space, architecture)
    for leaf in network.modules():
        if isinstance(leaf, nn.Linear):
            nn.init.normal_(leaf.weight, std=leaf.in_features**-0.5)
    shape = (1, architecture.resolution, architecture.resolution)
    settle(network, shape)
    images = [torch.rand(1, *shape) for _ in range(8)]  # not centred, as photographs are not
    model = to_onnx_int8(network.eval(), shape, [image.numpy() for image in images])
    onnx.checker.check_model(model, full_check=True)
    with torch.no_grad():
        expected = torch.cat([network(image) for image in images]).numpy()
    result = np.concatenate([run(model, image.numpy()) for image in images])
    assert sqnr(result, expected) > 18
    plain = np.concatenate([run(model, image.numpy(), optimized=False) for image in images])
    assert sqnr(result, plain) > 18, "the kernels compute something else than the graph says"


class Attending(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.scaled_dot_product_attention(x * 4.0, x * 2.0, x)


def test_scores_of_attention_keep_their_scale() -> None:
    """Where scores are large, what attention gives depends on them: the scale of queries is no scale of a grid."""
    network = fx.symbolic_trace(Attending())
    x = np.random.default_rng(0).standard_normal((1, 2, 12, 8), dtype=np.float32)
    model = to_onnx_int8(network, (2, 12, 8), [x])
    assert sqnr(run(model, x), network(torch.from_numpy(x)).numpy()) > 20


def test_ends_may_be_float32() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval())
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8), dtype=np.float32)
    graph = to_onnx(network, (1, 8, 8), batch="batch")
    model = quantize(graph, [x], float32_ends=True)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": x})
    with torch.no_grad():
        assert found.dtype == np.float32 and sqnr(found, network(torch.from_numpy(x)).numpy()) > 30
    assert len(np.unique(found)) == found.size, "the output was rounded"


def test_ranges_may_be_given() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(4, 4)))
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(1.0)
    x = np.array([[[[-1.0, 0.5], [2.0, 8.0]]]], np.float32)
    graph = to_onnx(network, (1, 2, 2))
    wide, clipped = quantize(graph, [x]), quantize(graph, [x], ranges={"_0": (-1.0, 2.0), "nothing": (0.0, 1.0)})
    scales = [
        {t.name: float(onnx.numpy_helper.to_array(t)) for t in m.graph.initializer if t.name == "_0.int8.scale"}
        for m in (wide, clipped)
    ]
    assert scales[0]["_0.int8.scale"] == pytest.approx(9 / 255) and scales[1]["_0.int8.scale"] == pytest.approx(3 / 255)


def test_kernels_do_not_overflow() -> None:
    """Sums of two products of eight bit numbers pass 16 bits, which x86 kernels without VNNI have for them."""
    conv = nn.Conv2d(64, 16, 1)
    network = fx.symbolic_trace(nn.Sequential(conv))
    with torch.no_grad():
        conv.weight.abs_()
    x = np.abs(np.random.default_rng(0).standard_normal((1, 64, 6, 6), dtype=np.float32)) + 2
    model = to_onnx_int8(network, (64, 6, 6), [x])
    with torch.no_grad():
        assert sqnr(run(model, x), conv(torch.from_numpy(x)).numpy()) > 30


def test_integer_kernels_do_the_work(tmp_path: Path) -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU6()]
    network = fx.symbolic_trace(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval())
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = f"{tmp_path}/optimized.onnx"
    options.log_severity_level = 3
    model = to_onnx_int8(network, (3, 16, 16))
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    assert kinds["QLinearConv"] == 2 and kinds["QGemm"] == 1 and kinds["QLinearGlobalAveragePool"] == 1
    assert not {"Conv", "Gemm", "Relu", "Clip", "DequantizeLinear", "QuantizeLinear"} & set(kinds)


def test_model_given_is_left_alone_and_files_repeat() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Hardswish()))
    model = to_onnx(network, (1, 8, 8), batch="batch")
    before = model.SerializeToString()
    x = np.ones((1, 1, 8, 8), np.float32)
    files = {quantize(model, [x]).SerializeToString() for _ in range(2)}
    assert model.SerializeToString() == before and len(files) == 1
    two = np.concatenate([x, np.zeros_like(x)])  # the batch stays open
    assert sqnr(run(quantize(model, [x]), two), network(torch.from_numpy(two)).detach().numpy()) > 25
