"""Models in 8 bits are near those in 32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

pytest.importorskip("ai_edge_litert")

from latency_tables.runtimes.litert import random_inputs
from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network
from tests.latency_tables.tflite.outputs import outputs

MAP = (6, 9, 8)


def noise_db(model: TFLiteModel, inputs: list[np.ndarray]) -> float:
    """Signal to noise of the quantised model, on the inputs it was calibrated with."""
    exact, rounded = outputs(model, inputs), outputs(quantize(model, inputs), inputs)
    return float(10 * np.log10(np.square(exact).mean() / np.square(exact - rounded).mean()))


def model_of(*layers: nn.Module, shape: tuple[int, ...] = MAP) -> TFLiteModel:
    torch.manual_seed(0)
    return to_tflite(fx.symbolic_trace(nn.Sequential(*layers)).eval(), shape)


@pytest.mark.parametrize(
    ("layers", "least_db"),
    [
        ((nn.Conv2d(6, 16, 3, 2, 1), nn.Hardswish()), 35),
        ((nn.Conv2d(6, 6, 5, 2, 2, groups=6), nn.ReLU6()), 35),
        ((nn.Conv2d(6, 9, 1), nn.Sigmoid()), 40),
        ((nn.Conv2d(6, 6, 1), nn.MaxPool2d(3, 2, 1)), 35),
        ((nn.AvgPool2d(2, ceil_mode=True), nn.Hardsigmoid()), 35),
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)), 30),
        ((nn.BatchNorm2d(6), nn.GELU()), 30),
    ],
)
def test_layers_lose_little(layers: tuple[nn.Module, ...], least_db: float) -> None:
    model = model_of(*layers)
    assert noise_db(model, random_inputs(model.input.shape, num=4)) > least_db


def test_everything_is_int8_and_weights_have_a_scale_per_channel() -> None:
    layers = nn.Conv2d(6, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.Flatten(), nn.Linear(16 * 5 * 4, 3)
    model = model_of(*layers)
    assert all(tensor.dtype in ("float32", "int32") for tensor in model.tensors())
    quantized = quantize(model, random_inputs(model.input.shape))
    assert quantized.input.dtype == quantized.output.dtype == "int8"
    assert not any(tensor.dtype == "float32" for tensor in quantized.tensors())
    scales = {op.kind: op.inputs[1].quantization for op in quantized.operators if len(op.inputs) == 3}
    found = {kind: (len(known.scales), known.axis, known.zero_point) for kind, known in scales.items() if known}
    assert found == {"CONV_2D": (16, 0, 0), "DEPTHWISE_CONV_2D": (16, 3, 0), "FULLY_CONNECTED": (3, 0, 0)}


def test_a_large_bias_on_small_weights_does_not_overflow() -> None:
    conv = nn.Conv2d(6, 4, 1)
    with torch.no_grad():
        conv.weight.mul_(1e-9)
        conv.bias.copy_(torch.tensor([100.0, -100.0, 1.0, 0.0]))
    model = model_of(conv)
    assert noise_db(model, random_inputs(model.input.shape)) > 40


def test_division_stays_in_float_between_conversions() -> None:
    class Divides(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (x.softmax(dim=-1) + 1.5)

    model = to_tflite(fx.symbolic_trace(Divides()), (7, 6))
    inputs = random_inputs(model.input.shape)
    kinds = [operator.kind for operator in quantize(model, inputs).operators]
    assert kinds == ["SOFTMAX", "ADD", "DEQUANTIZE", "DEQUANTIZE", "DIV", "QUANTIZE"]
    assert noise_db(model, inputs) > 35


def test_whole_network_and_equal_bytes(tiny: SearchSpace) -> None:
    torch.manual_seed(0)
    network = tiny.decode(tiny.largest())[0]
    module = build_network(tiny, network)
    nn.init.normal_(module.classifier.linear.weight)
    model = to_tflite(module, (1, network.resolution, network.resolution))
    inputs = random_inputs(model.input.shape, num=4)
    assert noise_db(model, inputs) > 18
    assert quantize(model, inputs).to_bytes() == quantize(model, inputs).to_bytes()


def test_ranges_are_those_of_the_inputs_given() -> None:
    model = model_of(nn.ReLU())
    inputs = [np.full(model.input.shape, value, np.float32) for value in (-2.0, 6.0)]
    known = quantize(model, inputs).input.quantization
    assert known is not None
    np.testing.assert_allclose(known.scales, 8 / 255, rtol=1e-6)
    assert known.zero_point == -64


def test_nothing_to_calibrate_with() -> None:
    model = model_of(nn.ReLU())
    with pytest.raises(UserError, match="calibrate"):
        quantize(model, [])
    with pytest.raises(UserError, match="int8 already"):
        quantize(quantize(model, random_inputs(model.input.shape)), random_inputs(model.input.shape))


def test_transformers_lose_little() -> None:
    space = get_space({"name": "hybrid_nano"}, num_classes=5, in_channels=3)
    torch.manual_seed(0)
    network = space.decode(space.smallest())[0]
    model = to_tflite(build_network(space, network), (3, network.resolution, network.resolution))
    assert noise_db(model, random_inputs(model.input.shape, num=4)) > 15
