"""Supernets of every family train, are saved and come back, and their subnets get statistics of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import get_space
from search_spaces.common.files import read_lines
from search_spaces.registry import FAMILIES
from search_spaces.supernet import build_supernet
from trainers.checkpoints.store import load_supernet, weights_digest
from trainers.evaluation.recalibration import recalibrate
from trainers.phases import make_plan
from trainers.recipes import RECIPES
from trainers.settings.train import DEFAULT_RECIPE, TrainingConfig, TrainSettings
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]

BLOCKS: dict[str, Any] = {"resolution": [12, 16], "kernel": [3, 5], "expand": [2, 3], "depth": [1, 2]}
SPACES: dict[str, dict[str, Any]] = {
    "mobilenet_v3": {"name": "mobilenet_v3_digits", **BLOCKS, "expanded_channels": 32, "feature_channels": 32},
    "proxyless_nas": {
        "name": "ofa_proxyless_nas",
        "width_mult": 0.25,
        **BLOCKS,
        "widths": [24, 40],
        "strides": [2, 1],
        "feature_channels": 64,
    },
    "resnet": {
        "name": "ofa_resnet50",
        "resolution": [12, 16],
        "stem_channels": 16,
        "pool_stride": 1,
        "widths": [40, 64],
        "strides": [1, 2],
        "base_depths": [1, 1],
    },
    "hybrid": {
        "name": "hybrid_nano",
        "resolution": [12, 16],
        "depth": [1],
        "widths": [8, 16],
        "layers": [1, 2],
        "embed": [16, 24],
        "heads": [1, 2],
        "mlp": [1, 2],
        "head_dim": 8,
    },
    "vision_transformer": {
        "name": "vit_nano",
        "resolution": [8, 16],
        "patch": [2, 4],
        "embed": [16, 24],
        "depth": [1, 2],
        "heads": [2, 3],
        "mlp": [1, 2],
        "selects": [2],
        "head_dim": 8,
    },
}


#: convolutions and tokens: what is tested with these alone is tested with the others in the slow tier
QUICK = {"mobilenet_v3", "vision_transformer"}


def test_every_family_is_here() -> None:
    assert set(SPACES) == set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        pytest.param(family, recipe, marks=() if family in QUICK or recipe == "sandwich" else (pytest.mark.slow,))
        for family in SPACES
        for recipe in ("sandwich", "progressive_shrinking")
    ],
)
def test_a_supernet_trains_and_is_taken_up_again(
    family: str, recipe: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(space=SPACES[family], recipe=recipe, max_steps=9, checkpoint_every=4)
    train(config, tmp_path)
    whole = load_supernet(tmp_path)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in whole.supernet.state_dict().values())
    fresh = build_supernet(whole.space, seed=0)
    assert weights_digest(fresh.state_dict()) != whole.weights_sha256
    newest = max(path.stem for path in (tmp_path / "checkpoints").glob("step-*"))
    for path in [*tmp_path.glob("supernet.*"), *(tmp_path / "checkpoints").glob(f"{newest}.*")]:
        path.unlink()  # as if the process had died before it wrote them
    train(config, tmp_path)
    assert load_supernet(tmp_path).weights_sha256 == whole.weights_sha256


def pairs() -> list[Any]:
    """Every recipe with convolutions and with tokens, and the standard one with every family; all others are slow."""
    return [
        pytest.param(family, recipe, marks=() if family in QUICK or recipe == DEFAULT_RECIPE else (pytest.mark.slow,))
        for family in SPACES
        for recipe in RECIPES.names()
    ]


@pytest.mark.parametrize(("family", "recipe"), pairs())
def test_every_recipe_trains_every_family(family: str, recipe: str, make_config: MakeConfig, tmp_path: Path) -> None:
    """Every phase of it takes steps, every loss is one, and weights of all operators that were trained move."""
    space = get_space(SPACES[family], 3, 1)
    phases = make_plan(space, TrainSettings(recipe=recipe), seed=0, steps_per_epoch=100).phases
    config = make_config(space=SPACES[family], recipe=recipe, epochs=2 * len(phases) / 7, log_every=1)
    train(config, tmp_path)
    plan = make_plan(space, config.train, seed=0, steps_per_epoch=7)
    subnets = [subnet for step in range(plan.num_steps) for subnet in plan.phase_at(step).sampler.subnets(step)]
    trained = {name for subnet in subnets for name, _ in space.network(subnet.architecture)}
    loaded = load_supernet(tmp_path)
    lines = [line for line in read_lines(tmp_path / "training.jsonl", "log") if line["kind"] == "step"]
    assert {line["phase"] for line in lines} == {phase.settings.name for phase in phases}
    assert all(np.isfinite(value) and value > 0 for line in lines for value in line["loss"].values())
    spent = [line["macs"] for line in lines]
    assert spent == sorted(set(spent)) and spent[0] > 0
    fresh = build_supernet(loaded.space, seed=0).state_dict()
    moved = {name.split(".")[1] for name, t in loaded.supernet.state_dict().items() if not torch.equal(t, fresh[name])}
    assert moved == {name for name in trained if any(key.startswith(f"slots.{name}.") for key in fresh)}


@pytest.mark.parametrize("family", SPACES)
def test_recalibration_gives_the_statistics_of_the_images(family: str, make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(space=SPACES[family], max_steps=2), tmp_path)
    loaded = load_supernet(tmp_path)
    for architecture in loaded.space.decode(loaded.space.sample(3, np.random.default_rng(0))):
        network = loaded.supernet.extract(architecture)
        side = architecture.resolution
        images = torch.randn(24, 1, side, side, generator=torch.Generator().manual_seed(0))
        calibrated = recalibrate(network, images.split(10))
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.train()  # normalises by this batch: by all images
        with torch.no_grad():
            torch.testing.assert_close(calibrated(images), network(images), rtol=1e-4, atol=1e-4)
