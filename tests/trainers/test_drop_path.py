"""Stochastic depth: on residual branches, image by image, in training alone, and never where subnets share work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from search_spaces import SearchSpace, get_space
from search_spaces.operators import MBConv, ResidualConv
from search_spaces.supernet import Supernet, build_supernet
from trainers.optim import freeze_running_statistics, has_random_layers, set_regularisation
from trainers.phases import make_plan
from trainers.processes.distributed import World
from trainers.settings.train import TrainSettings
from trainers.step import StepSettings, accumulate_gradients

ALONE = World(rank=0, size=1, device=torch.device("cpu"))
BLOCKS: dict[str, Any] = {"resolution": [16], "kernel": [3, 5], "expand": [2, 3], "depth": [1, 3]}
SPACES: dict[str, dict[str, Any]] = {
    "inverted_residual": {"name": "mobilenet_v3_digits", **BLOCKS, "expanded_channels": 32, "feature_channels": 32},
    "bottleneck_and_residual_conv": {
        "name": "ofa_resnet50",
        "resolution": [16],
        "stem_channels": 16,
        "pool_stride": 1,
        "widths": [40, 64],
        "strides": [1, 2],
        "base_depths": [1, 1],
    },
}
#: the classes of the branches, in the order of the network
BRANCHES = {
    "inverted_residual": {"ElasticMBConv"},
    "bottleneck_and_residual_conv": {"ElasticResidualConv", "ElasticBottleneck"},
}


@pytest.fixture(params=SPACES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_supernet(family: str) -> Callable[[float], Supernet]:
    def make(rate: float) -> Supernet:
        supernet = build_supernet(get_space(SPACES[family], 3, 1), seed=0)
        set_regularisation(supernet, TrainSettings(recipe="sandwich", dropout=0.0, drop_path=rate))
        freeze_running_statistics(supernet)
        return supernet.train()

    return make


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def largest(space: SearchSpace) -> Any:
    return space.decode(space.largest())[0]


def test_rates_grow_linearly_to_the_last_branch(make_supernet: Callable[[float], Supernet], family: str) -> None:
    supernet = make_supernet(0.4)
    blocks = [block for block in supernet.modules() if hasattr(block, "drop_path")]
    rates = [block.drop_path.drop_prob for block in blocks]
    assert {type(block).__name__ for block in blocks} == BRANCHES[family]
    assert rates == pytest.approx([0.4 * number / len(rates) for number in range(1, len(rates) + 1)])
    order = [name for name, _ in supernet.space.network(largest(supernet.space))]
    placed = [name for name in order if has_random_layers(supernet.slots[name])]
    assert len(placed) == len(rates)
    assert [supernet.slots[name].drop_path.drop_prob for name in placed] == rates


def test_rate_zero_is_as_without(make_supernet: Callable[[float], Supernet], images: Tensor) -> None:
    supernet = make_supernet(0.0)
    assert not has_random_layers(supernet)
    assert not any(isinstance(module, DropPath) for module in supernet.modules())
    before = torch.get_rng_state()
    supernet(images, largest(supernet.space))
    assert torch.equal(torch.get_rng_state(), before)


def test_only_training_drops(make_supernet: Callable[[float], Supernet], images: Tensor) -> None:
    """Evaluation and extraction give what a supernet without stochastic depth gives, from the same weights."""
    dropping, calm = make_supernet(0.9), make_supernet(0.0)
    architecture = largest(calm.space)
    torch.manual_seed(1)
    assert not torch.allclose(dropping(images, architecture), calm(images, architecture))
    networks = dropping.extract(architecture), calm.extract(architecture)
    assert not any(isinstance(module, DropPath) for module in networks[0].modules())
    outputs = []
    for network in networks:
        torch.manual_seed(1)  # for the dropout of the head
        outputs.append(network(images))
    assert torch.equal(*outputs)
    with torch.no_grad():
        assert torch.equal(dropping.eval()(images, architecture), calm.eval()(images, architecture))


def test_a_branch_is_dropped_for_some_images_only(make_supernet: Callable[[float], Supernet]) -> None:
    """A block passes its input on unchanged, or adds its branch divided by the share that is kept."""
    dropping, calm = make_supernet(0.8), make_supernet(0.0)
    sums = [pair for pair in calm.space.network(largest(calm.space)) if isinstance(pair[1], (MBConv, ResidualConv))]
    name, operator = [pair for pair in sums if has_random_layers(dropping.slots[pair[0]])][-1]
    kept = 1 - dropping.slots[name].drop_path.drop_prob
    x = torch.randn(200, *operator.input_shape)
    torch.manual_seed(0)
    dropped = dropping.slots[name](x, operator) - x
    branch = calm.slots[name](x, operator) - x
    gone = dropped.abs().amax((1, 2, 3)) == 0
    assert abs(1 - kept - gone.float().mean().item()) < 0.1
    torch.testing.assert_close(dropped[~gone] * kept, branch[~gone], rtol=1e-4, atol=1e-5)


def test_shared_operators_draw_nothing(
    make_supernet: Callable[[float], Supernet], images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients are those of a step that shares nothing; what comes before the first branch is shared."""
    supernet = make_supernet(0.5)
    supernet.requires_grad_(True)
    plan = TrainSettings.model_validate({"phases": [{"name": "all", "epochs": 1, "num_subnets": 3}]})
    phase = make_plan(supernet.space, plan, seed=0, steps_per_epoch=5).phases[0]
    subnets = tuple(subnet for subnet in phase.sampler.subnets(0) for _ in range(2))
    settings = StepSettings(
        phase=phase,
        batch_size=6,
        micro_batch=6,
        label_smoothing=0.1,
        channels_last=False,
        autocast=None,
        random_layers=has_random_layers(supernet),
        seed=0,
    )
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    calls: list[nn.Module] = []
    next(iter(supernet.slots.values())).register_forward_hook(lambda module, *_: calls.append(module))

    def run() -> tuple[Tensor, dict[str, Tensor]]:
        calls.clear()
        losses = accumulate_gradients(supernet, None, subnets, images, labels, step=0, settings=settings, world=ALONE)
        found = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
        supernet.zero_grad(set_to_none=True)
        return losses, found

    losses, together = run()
    assert len(calls) == 1  # the stem of six subnets
    monkeypatch.setattr("trainers.step.shared_starts", lambda *_: [])
    losses_alone, alone = run()
    assert len(calls) == 6
    assert len(set(losses.tolist())) == 6  # equal subnets draw numbers of their own
    torch.testing.assert_close(losses, losses_alone)
    assert together.keys() == alone.keys()
    for name, gradient in alone.items():
        torch.testing.assert_close(together[name], gradient, rtol=1e-4, atol=1e-6)
