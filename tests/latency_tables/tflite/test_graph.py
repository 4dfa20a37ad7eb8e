"""The direct TFLite conversion computes what torch computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from latency_tables.folding import fold_batch_norm
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.interpreter import LoadedModel
from search_spaces import SearchSpace, get_space, list_spaces
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network, build_operator
from tests.latency_tables.graph_cases import UNKNOWN_CALLS, Branches, Shared, Tokens


def randomize(module: nn.Module) -> None:
    """Batch norms with statistics of their own, so that folding has something to get wrong."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                if tensor is not None:
                    tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)


def as_phones(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x


def compare(module: fx.GraphModule, shape: tuple[int, ...], *, tolerance: float = 1e-5) -> None:
    randomize(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = 3 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    module.eval()
    with torch.no_grad():
        expected = as_phones(module(x.clone()).numpy())
    scale = max(1.0, float(np.abs(expected).max()))
    content = to_tflite(module, shape).to_bytes()
    assert content == to_tflite(module, shape).to_bytes()
    for delegate in (False, True):
        model = LoadedModel(content, delegate=delegate)
        model.set_inputs(as_phones(x.numpy()))
        result = model.call().output()
        assert result.shape == expected.shape
        assert np.abs(result - expected).max() <= tolerance * scale
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), f"{name} was changed"


def traced(*layers: nn.Module) -> fx.GraphModule:
    return fx.symbolic_trace(nn.Sequential(*layers))


MAP = (6, 9, 7)
LEAVES: dict[str, tuple[Callable[[], fx.GraphModule], tuple[int, ...]]] = {
    "conv": (lambda: traced(nn.Conv2d(6, 8, 3)), MAP),
    "conv without bias": (lambda: traced(nn.Conv2d(6, 8, 1, bias=False)), MAP),
    "conv, strided, dilated, grouped": (lambda: traced(nn.Conv2d(6, 9, (3, 2), (2, 1), (2, 1), 2, groups=3)), MAP),
    "conv, padding same": (lambda: traced(nn.Conv2d(6, 6, 4, padding="same")), MAP),
    "conv, padding valid": (lambda: traced(nn.Conv2d(6, 6, 4, padding="valid")), MAP),
    "depthwise": (lambda: traced(nn.Conv2d(6, 6, 5, 2, 2, groups=6)), MAP),
    "conv and norm": (lambda: traced(nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()), MAP),
    "norm alone": (lambda: traced(nn.BatchNorm2d(6)), MAP),
    "norm without scale": (lambda: traced(nn.BatchNorm2d(6, affine=False)), MAP),
    "norm before conv": (lambda: traced(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)), MAP),
    "relu": (lambda: traced(nn.ReLU()), MAP),
    "relu6": (lambda: traced(nn.ReLU6()), MAP),
    "sigmoid": (lambda: traced(nn.Sigmoid()), MAP),
    "hard swish": (lambda: traced(nn.Hardswish()), MAP),
    "hard sigmoid": (lambda: traced(nn.Hardsigmoid()), MAP),
    "pool": (lambda: traced(nn.AdaptiveAvgPool2d(1)), MAP),
    "max pool": (lambda: traced(nn.MaxPool2d(3, 2, 1)), MAP),
    "max pool, odd sides of its own": (lambda: traced(nn.MaxPool2d((3, 2), (2, 1), (1, 0))), MAP),
    "average pool": (lambda: traced(nn.AvgPool2d(2)), MAP),
    "average pool, up": (lambda: traced(nn.AvgPool2d(2, 2, ceil_mode=True)), MAP),
    "average pool, up, even": (lambda: traced(nn.AvgPool2d(2, 2, ceil_mode=True)), (6, 8, 10)),
    "average pool, up, by 3": (lambda: traced(nn.AvgPool2d((3, 2), (2, 3), ceil_mode=True)), MAP),
    "average pool, up, with gaps": (lambda: traced(nn.AvgPool2d(2, 4, ceil_mode=True)), (6, 8, 9)),
    "average pool of one": (lambda: traced(nn.AvgPool2d(1, 1, ceil_mode=True)), MAP),
    "flatten": (lambda: traced(nn.Flatten()), MAP),
    "linear": (lambda: traced(nn.Linear(6, 5)), (6,)),
    "linear without bias": (lambda: traced(nn.Flatten(), nn.Linear(378, 3, bias=False)), MAP),
    "linear of tokens": (lambda: traced(nn.Linear(6, 5)), (7, 6)),
    "linear of tokens, without bias": (lambda: traced(nn.Linear(6, 5, bias=False)), (7, 6)),
    "layer norm": (lambda: traced(nn.LayerNorm(6, 1e-3)), (7, 6)),
    "gelu": (lambda: traced(nn.GELU()), (7, 6)),
    "zero pad": (lambda: traced(nn.ZeroPad2d((1, 2, 3, 0))), MAP),
    "dropout": (lambda: traced(nn.Dropout(0.5), nn.ReLU()), MAP),
    "identity": (lambda: fx.symbolic_trace(nn.Identity()), MAP),
}


@pytest.mark.parametrize("name", LEAVES)
def test_leaf_equals_torch(name: str) -> None:
    build, shape = LEAVES[name]
    compare(build(), shape)


def kinds(module: fx.GraphModule, shape: tuple[int, ...] = MAP) -> list[str]:
    return [operator.kind for operator in to_tflite(module, shape).operators]


def test_activations_become_part_of_what_they_follow() -> None:
    assert kinds(traced(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.ReLU6())) == ["CONV_2D"]
    assert kinds(traced(nn.Flatten(), nn.Linear(378, 3), nn.ReLU())) == ["TRANSPOSE", "RESHAPE", "FULLY_CONNECTED"]

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(6, 6, 1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.act(y) + y

    compare(fx.symbolic_trace(Shared()), MAP)
    assert kinds(fx.symbolic_trace(Shared())) == ["CONV_2D", "RELU", "ADD"]


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("side", [8, 9])
def test_padding_is_same_only_where_it_is_the_same(kernel: int, side: int) -> None:
    conv = traced(nn.Conv2d(6, 6, kernel, 2, kernel // 2, groups=6))
    compare(conv, (6, side, side))
    assert kinds(conv, (6, side, side)) == ["PAD", "DEPTHWISE_CONV_2D"][side % 2 :]


def test_max_pool_of_what_is_not_negative_is_padded_with_zeros() -> None:
    pool = nn.MaxPool2d(3, 2, 1)
    assert kinds(traced(nn.Conv2d(6, 6, 1), pool), (6, 8, 8)) == ["CONV_2D", "PADV2", "MAX_POOL_2D"]
    assert kinds(traced(nn.Conv2d(6, 6, 1), nn.ReLU(), pool), (6, 8, 8)) == ["CONV_2D", "PAD", "MAX_POOL_2D"]
    compare(traced(nn.Conv2d(6, 6, 1), nn.ReLU(), pool), (6, 8, 8))
    compare(traced(nn.Conv2d(6, 6, 1), pool), (6, 8, 8))


def test_xnnpack_runs_convolutional_networks_whole(tiny: SearchSpace) -> None:
    architecture = tiny.decode(tiny.largest())[0]
    module = build_network(tiny, architecture)
    content = to_tflite(module, (1, architecture.resolution, architecture.resolution)).to_bytes()
    assert LoadedModel(content).left_to_kernels == []
    assert "DEPTHWISE_CONV_2D" in LoadedModel(content, delegate=False).left_to_kernels


def test_constants_are_aligned() -> None:
    content = to_tflite(traced(nn.Conv2d(6, 8, 3), nn.Conv2d(8, 3, 1)), MAP).to_bytes()
    model = schema.Model.GetRootAs(content)
    buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
    places = [buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if not buffer.DataIsNone()]
    assert len(places) == 4 and all(place % 16 == 0 for place in places)


@pytest.mark.parametrize("network", [Branches, Tokens])
def test_networks_of_several_layers(network: type[nn.Module]) -> None:
    compare(fx.symbolic_trace(network()), MAP)


@pytest.mark.parametrize(("call", "named"), UNKNOWN_CALLS)
def test_unknown_forms_of_calls_are_named(call: Callable[[Tensor], Tensor], named: str) -> None:
    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    with pytest.raises(UserError, match=named):
        to_tflite(fx.symbolic_trace(Calls()), MAP)


def test_norm_stays_where_the_convolution_is_used_elsewhere() -> None:
    module = fx.symbolic_trace(Shared())
    compare(module, MAP)
    assert any(isinstance(leaf, nn.BatchNorm2d) for leaf in fold_batch_norm(module).modules())


def test_every_operator_of_the_tiny_space(tiny: SearchSpace) -> None:
    for op in tiny.operators().values():
        compare(build_operator(op), op.input_shape)


#: the same blocks as in autoformer_tiny, and many more of their numbers
LARGE = {"autoformer_small", "autoformer_base"}
#: one of each family
QUICK = {"mobilenet_v3_digits", "efficientnet_lite0", "hybrid_nano", "vit_nano"}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted({*list_spaces()} - LARGE)
    ],
)
def test_whole_networks(name: str) -> None:
    space = get_space({"name": name}, num_classes=7, in_channels=3)
    if space.family != "vision_transformer":  # whose patches must fill the images
        space = get_space({"name": name, "resolution": [32]}, num_classes=7, in_channels=3)
    architecture = space.decode(space.sample(1, np.random.default_rng(0)))[0]
    shape = (3, architecture.resolution, architecture.resolution)
    compare(build_network(space, architecture), shape, tolerance=1e-3)  # random norms amplify rounding


@pytest.mark.parametrize(
    ("module", "shape", "named"),
    [
        (traced(nn.Conv2d(6, 6, 1), nn.Softplus()), MAP, "Softplus"),
        (traced(nn.AdaptiveAvgPool2d(2)), MAP, "AdaptiveAvgPool2d"),
        (traced(nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect")), MAP, "padding_mode"),
        (traced(nn.MaxPool2d(2, ceil_mode=True)), MAP, "MaxPool2d with ceil_mode"),
        (traced(nn.AvgPool2d(3, padding=1)), MAP, "AvgPool2d with padding"),
        (traced(nn.Flatten(2)), MAP, "Flatten"),
        (traced(nn.GELU("tanh")), MAP, "GELU with approximate"),
        (traced(nn.BatchNorm2d(6, track_running_stats=False)), MAP, "running statistics"),
    ],
)
def test_unknown_leaf_is_named(module: fx.GraphModule, shape: tuple[int, ...], named: str) -> None:
    with pytest.raises(UserError, match=named):
        to_tflite(module, shape)


def test_unknown_function_is_named() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 - x

    class Cosine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cos(x)

    with pytest.raises(UserError, match="sub"):
        to_tflite(fx.symbolic_trace(Constant()), MAP)
    with pytest.raises(UserError, match="cos"):
        to_tflite(fx.symbolic_trace(Cosine()), MAP)
