"""Products of matrices, written as layers, are the same products."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

pytest.importorskip("ai_edge_litert")

from latency_tables.runtimes.litert import random_inputs
from latency_tables.tflite.file import TFLiteModel
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.int8 import quantize
from latency_tables.tflite.products import products_as_layers
from search_spaces import get_space
from search_spaces.plain import build_network
from tests.latency_tables.tflite.outputs import outputs


class Products(nn.Module):
    """x x^T, and that x: a factor on the right once as rows and once as columns."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (self.tokens, 3, 16)).transpose(1, 2)
        return torch.matmul(torch.matmul(x, x.transpose(2, 3)), x).flatten(1)


def int8_of(module: nn.Module, shape: tuple[int, ...]) -> TFLiteModel:
    torch.manual_seed(0)
    model = to_tflite(fx.symbolic_trace(module).eval(), shape)
    return quantize(model, random_inputs(model.input.shape, num=4))


def kinds(model: TFLiteModel) -> Counter[str]:
    return Counter(operator.kind for operator in model.operators)


def answers(model: TFLiteModel, num: int = 3) -> np.ndarray:
    """As the numbers of 8 bits."""
    given = np.random.default_rng(0).integers(-128, 128, (num, *model.input.shape)).astype(np.int8)
    read, written = model.input.quantization, model.output.quantization
    assert read is not None and written is not None
    inputs = (given.astype(np.float32) - read.zero_point) * read.scales
    return np.rint(outputs(model, inputs) / written.scales[0])


def test_products_are_the_same() -> None:
    model = int8_of(Products(24), (24 * 3 * 16,))
    layers = products_as_layers(model)
    assert kinds(model)["BATCH_MATMUL"] == 2 and kinds(layers)["BATCH_MATMUL"] == 0
    assert kinds(layers)["FULLY_CONNECTED"] == 2 * 3
    assert layers.input is model.input and layers.output is model.output
    found, expected = answers(layers), answers(model)
    assert np.ptp(expected) > 100
    assert np.abs(found - expected).max() <= 1, "halves may be rounded another way"


def test_small_products_stay() -> None:
    model = int8_of(Products(8), (8 * 3 * 16,))
    assert [op.kind for op in products_as_layers(model).operators] == [op.kind for op in model.operators]


def test_float_products_stay() -> None:
    model = to_tflite(fx.symbolic_trace(Products(24)).eval(), (24 * 3 * 16,))
    assert kinds(products_as_layers(model))["BATCH_MATMUL"] == 2


def test_a_matrix_for_many_stays() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(1, 1, 64, 32))

        def forward(self, x: Tensor) -> Tensor:
            return torch.matmul(x.unflatten(1, (2, 16, 64)), self.weight).flatten(1)

    model = int8_of(Shared(), (2 * 16 * 64,))
    assert kinds(products_as_layers(model)) == kinds(model)


@pytest.mark.parametrize("name", ["vit_nano", "hybrid_nano"])
def test_transformers_are_as_near_to_themselves_as_before(name: str) -> None:
    space = get_space({"name": name}, num_classes=10, in_channels=3)
    torch.manual_seed(0)
    (architecture,) = space.decode(space.largest()[None])
    network = build_network(space, architecture).eval()
    exact = to_tflite(network, (3, architecture.resolution, architecture.resolution))
    inputs = random_inputs(exact.input.shape, num=4)
    model = quantize(exact, inputs)
    layers = products_as_layers(model)
    assert kinds(layers)["FULLY_CONNECTED"] > kinds(model)["FULLY_CONNECTED"]

    expected = outputs(exact, inputs)
    errors = [
        float(np.square(outputs(of, inputs) - expected).mean() / np.square(expected).mean()) for of in (model, layers)
    ]
    assert errors[1] < 1.25 * errors[0] + 1e-5
