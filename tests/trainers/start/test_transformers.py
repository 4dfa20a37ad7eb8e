"""Checkpoints of timm's vision transformers in the largest subnet, and low-rank layers that start from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer

from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.elastic.tokens import ElasticLinear
from search_spaces.operators import Attention
from search_spaces.supernet import build_supernet
from trainers.architectures import restriction_to
from trainers.start.pretrained import load_pretrained

SPACE: dict[str, Any] = {
    "name": "vit_nano",
    "resolution": [32],
    "patch": [8, 16],
    "embed": [32, 48],
    "depth": [2, 3],
    "heads": [2, 3],
    "mlp": [2, 4],
    "attention_rank": [0.5, 1],
    "mlp_rank": [0.5, 1],
    "head_dim": 16,
    "attention": ["softmax", "linear"],
    "selects": [2],
    "class_token": True,
}


def timm_network(**changes: Any) -> VisionTransformer:
    torch.manual_seed(0)
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
    network = VisionTransformer(**settings | changes).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def saved(network: torch.nn.Module, folder: Path) -> Path:
    path = folder / "published.safetensors"
    safetensors.torch.save_file(network.state_dict(), str(path))
    return path


@pytest.mark.parametrize("class_token", [True, False])
@torch.no_grad()
def test_largest_subnet_computes_what_timm_does(class_token: bool, tmp_path: Path) -> None:
    changes = {} if class_token else {"class_token": False, "global_pool": "avg", "fc_norm": False}
    network = timm_network(**changes)
    forms = {"attention": ["softmax"]}
    space = get_space(SPACE | {"class_token": class_token} | forms, num_classes=5)
    supernet = build_supernet(space, seed=1).eval()
    report = load_pretrained(supernet, saved(network, tmp_path))
    (largest,) = space.decode(space.largest())
    x = torch.randn(4, 3, 32, 32)
    expected = network(x)
    assert expected.std() > 0.05
    torch.testing.assert_close(supernet(x, largest), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(supernet.extract(largest)(x), expected, rtol=1e-5, atol=1e-5)
    assert report.params["fresh"] == 0 and not report.fresh and not report.partial


#: space, its settings where it is a network of timm's kind, and that network
COINCIDING: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("autoformer_tiny", {"embed": [144, 192], "heads": [2, 3]}, {"embed_dim": 192, "num_heads": 3, "depth": 14}),
    ("autoformer_small", {"embed": [384], "heads": [5, 6], "depth": [1, 2]}, {"embed_dim": 384, "num_heads": 6}),
    ("autoformer_base", {"embed": [528, 576], "heads": [9], "depth": [1, 2]}, {"embed_dim": 576, "num_heads": 9}),
    (
        "mcuformer",
        {"embed": [168, 192], "heads": [3], "attention_rank": [1], "mlp_rank": [1], "depth": [12]},
        {"embed_dim": 192, "num_heads": 3, "depth": 12, "img_size": 240, "class_token": False},
    ),
]


@pytest.mark.parametrize(("name", "settings", "theirs"), COINCIDING, ids=[name for name, *_ in COINCIDING])
@torch.no_grad()
def test_shipped_spaces_hold_networks_of_timm(
    name: str, settings: dict[str, Any], theirs: dict[str, Any], tmp_path: Path
) -> None:
    """The largest subnet, whatever else is elastic, where its heads together are as wide as its embedding."""
    pool = {} if theirs.get("class_token", True) else {"global_pool": "avg", "fc_norm": False}
    network = timm_network(**{"img_size": 224, "patch_size": 16, "num_classes": 1000, "depth": 2} | theirs | pool)
    space = get_space({"name": name, **settings})
    supernet = build_supernet(space, seed=1).eval()
    report = load_pretrained(supernet, saved(network, tmp_path))
    (largest,) = space.decode(space.largest())
    x = torch.randn(1, 3, largest.resolution, largest.resolution)
    expected = network(x)
    assert expected.std() > 0.05 and report.params["fresh"] == 0
    torch.testing.assert_close(supernet.extract(largest)(x), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("depth", [2, 4])
def test_checkpoints_of_another_depth(depth: int, tmp_path: Path) -> None:
    """Blocks beyond those of the checkpoint change nothing; blocks that it has besides are named as unused."""
    network = timm_network(depth=depth)
    space = get_space(SPACE | {"attention": ["softmax"]}, num_classes=5)
    supernet = build_supernet(space, seed=1).eval()
    report = load_pretrained(supernet, saved(network, tmp_path))
    if depth > 3:
        assert len(report.unused) == 12 and all(name.startswith("blocks.3.") for name in report.unused)
        network.blocks = network.blocks[:3]
    else:
        assert not report.unused and report.params["zeroed"] == 48 * 48 + 48 + 192 * 48 + 48
    (largest,) = space.decode(space.largest())
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(supernet(x, largest), network(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (24, 24)])
def test_every_rank_is_the_best_approximation_of_the_slice_in_use(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = ElasticLinear(shape[1] + 8, shape[0] + 8, [0, 4])
    weight = layer.weight[: shape[0], : shape[1]]
    values = torch.linalg.svdvals(weight)
    for rank in (4, 12, 20):
        low = dict(layer.slices("", *shape[::-1], rank))
        product = low[".factor_out.weight"] @ low[".factor_in.weight"]
        assert low[".factor_in.weight"].shape == (rank, shape[1])
        error = torch.linalg.norm(weight - product)
        torch.testing.assert_close(error, values[rank:].square().sum().sqrt(), rtol=1e-4, atol=1e-5)
        x = torch.randn(5, 7, shape[1])
        expected = x @ product.t() + layer.bias[: shape[0]]
        torch.testing.assert_close(layer(x, shape[0], rank), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_factors_of_full_rank_are_the_dense_layer() -> None:
    layer, x = ElasticLinear(24, 40, [0, 8]), torch.randn(5, 7, 24)
    torch.testing.assert_close(layer(x, 40, 24), layer(x, 40), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_subnet_of_any_form_and_rank_goes_on_alone() -> None:
    """Its extracted weights fill the supernet of this one network, by name."""
    space = get_space({"name": "vit_nano", "depth": [3]}, num_classes=5)
    supernet = build_supernet(space, seed=1).eval()
    forms = set()
    for architecture in space.decode(space.sample(12, np.random.default_rng(0), uniform=False)):
        network = supernet.extract(architecture)
        alone = build_supernet(space.restrict(restriction_to(space, architecture)), seed=2).eval()
        alone.slots.load_state_dict(network.state_dict())
        x = torch.randn(2, 3, 32, 32)
        torch.testing.assert_close(alone(x, architecture), network(x), rtol=1e-4, atol=1e-5)
        forms |= {(op.form, op.rank > 0) for _, op in space.network(architecture) if isinstance(op, Attention)}
    assert {("hilo", True), ("hilo", False), ("softmax", True), ("linear", True), ("convolution", False)} <= forms


def test_low_rank_layers_train_the_dense_weights() -> None:
    """A dense layer and its approximations lose together."""
    torch.manual_seed(0)
    layer, x = ElasticLinear(24, 40, [0, 8]), torch.randn(256, 24)
    target = x @ torch.randn(24, 6) @ torch.randn(6, 40)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        loss = (layer(x, 40, 8) - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]
    assert (layer(x, 40) - target).square().mean() < 0.6 * losses[0]


@torch.no_grad()
def test_other_grids_and_classes(tmp_path: Path) -> None:
    """Images of 48 px have another grid: resized places; 7 classes: a fresh classifier; grey: summed kernels."""
    path = saved(timm_network(), tmp_path)
    space = get_space(SPACE | {"resolution": [48]}, num_classes=7, in_channels=1)
    supernet = build_supernet(space, seed=1).eval()
    report = load_pretrained(supernet, path)
    assert sorted(report.fresh) == ["classifier.linear.bias", "classifier.linear.weight"]
    assert supernet.slots["patches"].places.shape == (37, 48)
    (architecture,) = space.decode(space.sample(1, np.random.default_rng(0)))
    assert torch.isfinite(supernet(torch.randn(2, 1, 48, 48), architecture)).all()


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"embed": [32, 64]}, r"numbers where the largest subnet has .* \(patches"),
        ({"heads": [2, 4]}, r"\(48, 48\) numbers where the largest subnet has \(64, 48\) \(block1_attention.query"),
        ({"mlp": [2, 3]}, r"\(192, 48\) numbers where the largest subnet has \(144, 48\) \(block1_mlp.expand"),
    ],
)
def test_a_checkpoint_of_other_widths_is_refused(space: dict[str, Any], told: str, tmp_path: Path) -> None:
    supernet = build_supernet(get_space(SPACE | space, num_classes=5), seed=1)
    with pytest.raises(UserError, match=told):
        load_pretrained(supernet, saved(timm_network(), tmp_path))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = saved(timm_network(), tmp_path)
    digits = build_supernet(get_space({"name": "mobilenet_v3_digits"}, num_classes=5))
    with pytest.raises(UserError, match=r"no layer of this file \(timm VisionTransformer\) fits the space mob"):
        load_pretrained(digits, path)
    safetensors.torch.save_file({"conv.weight": torch.zeros(3)}, str(path))
    with pytest.raises(UserError, match=r"no layer of this file \(no vision transformer\) fits the space vit_nano"):
        load_pretrained(build_supernet(get_space(SPACE, num_classes=5)), path)
