"""BN statistics are exact over the whole split: against torch's own, for every way to cut it, within any memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network
from trainers.evaluation.recalibration import recalibrate

NUM_IMAGES = 40


@pytest.fixture(scope="module", params=[torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def layout(request: pytest.FixtureRequest) -> torch.memory_format:
    return request.param


@pytest.fixture(scope="module")
def network(space: SearchSpace, layout: torch.memory_format) -> fx.GraphModule:
    torch.manual_seed(0)
    (largest,) = space.decode(space.largest())
    network = build_network(space, largest)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network.to(memory_format=layout)


@pytest.fixture(scope="module")
def images(layout: torch.memory_format) -> Tensor:
    images = torch.randn(NUM_IMAGES, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 3 + 1
    return images.to(memory_format=layout)


def statistics(network: nn.Module) -> dict[str, Tensor]:
    return {name: b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], rtol: float = 1e-5) -> None:
    assert found.keys() == wanted.keys() and len(found) > 10
    for name, tensor in wanted.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=rtol, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_equals_torchs_own_statistics_of_one_batch(network: fx.GraphModule, images: Tensor) -> None:
    """One train-mode pass over the split normalises by exactly these (torch then stores the unbiased variance)."""
    reference = copy.deepcopy(network).train()
    counts: dict[str, int] = {}
    for name, module in reference.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            module.register_forward_pre_hook(
                lambda _, args, name=name: counts.__setitem__(name, args[0].numel() // args[0].shape[1])
            )
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        expected_logits = reference(images)
    wanted = {}
    for name, buffer in statistics(reference).items():
        count = counts[name.rpartition(".")[0]]
        wanted[name] = buffer * (count - 1) / count if name.endswith("var") else buffer
    found = recalibrate(network, [images])
    assert_same(statistics(found), wanted)
    torch.testing.assert_close(found(images), expected_logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 39])
def test_batch_size_does_not_matter(network: fx.GraphModule, images: Tensor, batch_size: int) -> None:
    whole = statistics(recalibrate(network, [images]))
    parts = statistics(recalibrate(network, list(images.split(batch_size))))
    assert_same(parts, whole)


@pytest.mark.parametrize("memory_limit", [0, 30_000, 200_000])
def test_memory_limit_does_not_matter(network: fx.GraphModule, images: Tensor, memory_limit: int) -> None:
    chunks = list(images.split(7))
    plenty = statistics(recalibrate(network, chunks))
    little = statistics(recalibrate(network, lambda: iter(chunks), memory_limit=memory_limit))
    for name, tensor in plenty.items():
        assert torch.equal(little[name], tensor), name


def test_cost_is_one_pass_with_enough_memory(network: fx.GraphModule, images: Tensor) -> None:
    calls = {"stem": 0, "last": 0}
    counted = copy.deepcopy(network)
    convs = [module for module in counted.modules() if isinstance(module, nn.Conv2d)]
    counted.calls = calls  # shared with the copy that recalibrate makes
    for key, conv in (("stem", convs[0]), ("last", convs[-2])):
        conv.register_forward_hook(lambda *_, key=key: calls.__setitem__(key, calls[key] + 1))
    recalibrate(counted, list(images.split(10)))
    assert calls["stem"] == 4 and calls["last"] <= 4


def test_input_network_is_left_alone(network: fx.GraphModule, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kept = images.clone()
    network.train()
    recalibrate(network, list(images.split(10)))
    assert network.training
    assert torch.equal(images, kept)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_linear_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 2))
    x = torch.randn(9, 4)
    found = recalibrate(fx.symbolic_trace(model), [x[:4], x[4:]])
    hidden = model[0](x).double()
    torch.testing.assert_close(found.get_submodule("1").running_mean.double(), hidden.mean(0), rtol=1e-5, atol=1e-6)
    variance = torch.from_numpy(np.var(hidden.detach().numpy(), axis=0))
    torch.testing.assert_close(found.get_submodule("1").running_var.double(), variance, rtol=1e-5, atol=1e-6)


def test_no_image_and_no_number_are_refused(network: fx.GraphModule, images: Tensor) -> None:
    with pytest.raises(UserError, match="no image"):
        recalibrate(network, [])
    with pytest.raises(UserError, match="not finite"):
        recalibrate(network, [images * float("nan")])


def test_statistics_behind_widening_convolutions_keep_their_digits() -> None:
    """They come from the covariance of the inputs: far from zero, it must not lose them to cancellation."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 4, 9, 9, generator=generator) + 300 * torch.randn(1, 4, 1, 1, generator=generator)
    model = nn.Sequential(nn.Conv2d(4, 9, 1), nn.BatchNorm2d(9), nn.ReLU(inplace=True), nn.Conv2d(9, 3, 1))
    found = recalibrate(fx.symbolic_trace(model), [x[:4], x[4:]]).get_submodule("1")
    outputs = nn.functional.conv2d(x.double(), model[0].weight.double(), model[0].bias.double()).detach()
    torch.testing.assert_close(found.running_mean.double(), outputs.mean((0, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.running_var.double(), outputs.var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-6)
