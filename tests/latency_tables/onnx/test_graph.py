"""The direct ONNX conversion computes what torch computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, fx, nn

from latency_tables.folding import fold_batch_norm
from latency_tables.onnx.graph import to_onnx
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


def compare(module: fx.GraphModule, shape: tuple[int, ...], *, tolerance: float = 1e-5) -> None:
    randomize(module)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = 3 * torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    module.eval()
    with torch.no_grad():
        expected = module(x.clone())
    scale = max(1.0, float(expected.abs().max()))
    models = {"1": to_onnx(module, shape), "batch": to_onnx(module, shape, batch="batch")}
    for batch, model in models.items():
        onnx.checker.check_model(model, full_check=True)
        images, logits = (x[:1], expected[:1]) if batch == "1" else (x, expected)
        (result,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": images.numpy()})
        assert np.abs(result - logits.numpy()).max() <= tolerance * scale
        sides = model.graph.output[0].type.tensor_type.shape.dim
        assert [side.dim_param or str(side.dim_value) for side in sides] == [batch, *map(str, expected.shape[1:])]
    fixed, opened = ([node.op_type for node in model.graph.node] for model in models.values())
    assert fixed == opened and "Dropout" not in fixed
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
    "max pool, odd sides of its own": (lambda: traced(nn.MaxPool2d((3, 2), (2, 1), (1, 0), (2, 1))), MAP),
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


@pytest.mark.parametrize("network", [Branches, Tokens])
def test_networks_of_several_layers(network: type[nn.Module]) -> None:
    compare(fx.symbolic_trace(network()), MAP)


@pytest.mark.parametrize(("call", "named"), UNKNOWN_CALLS)
def test_unknown_forms_of_calls_are_named(call: Callable[[Tensor], Tensor], named: str) -> None:
    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    with pytest.raises(UserError, match=named):
        to_onnx(fx.symbolic_trace(Calls()), MAP)


def test_norm_stays_where_the_convolution_is_used_elsewhere() -> None:
    module = fx.symbolic_trace(Shared())
    compare(module, MAP)
    assert any(isinstance(leaf, nn.BatchNorm2d) for leaf in fold_batch_norm(module).modules())


def test_every_operator_of_the_tiny_space(tiny: SearchSpace) -> None:
    for op in tiny.operators().values():
        compare(build_operator(op), op.input_shape)


#: the same blocks as in autoformer_tiny, and many more of their numbers
LARGE = {"autoformer_small", "autoformer_base"}


@pytest.mark.parametrize("name", sorted({*list_spaces()} - LARGE))
def test_whole_networks(name: str) -> None:
    space = get_space({"name": name}, num_classes=7, in_channels=3)
    if space.family != "vision_transformer":  # whose patches must fill the images
        space = get_space({"name": name, "resolution": [32]}, num_classes=7, in_channels=3)
    population = space.sample(8, np.random.default_rng(0))
    (architecture,) = space.decode(population[[space.cost("params").evaluate(population).argmin()]])
    shape = (3, architecture.resolution, architecture.resolution)
    compare(build_network(space, architecture), shape, tolerance=1e-3)  # random norms amplify rounding
    folded = fold_batch_norm(build_network(space, architecture))
    assert not any(isinstance(leaf, nn.BatchNorm2d | nn.Dropout) for leaf in folded.modules())


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
        to_onnx(module, shape)


def test_unknown_function_is_named() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 - x

    class Cosine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cos(x)

    with pytest.raises(UserError, match="sub"):
        to_onnx(fx.symbolic_trace(Constant()), MAP)
    with pytest.raises(UserError, match="cos"):
        to_onnx(fx.symbolic_trace(Cosine()), MAP)
