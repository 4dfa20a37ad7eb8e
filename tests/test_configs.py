"""Every shipped config is valid, says how it is run, and trains two steps on images of its shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ofa.config import RunConfig, parse_run_config
from trainers.checkpoints.store import load_supernet
from trainers.settings.train import read_config
from trainers.training import train

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))

#: what the data set of each config looks like: channels, side in pixels, classes (of an image folder, any number)
SHAPES = {
    "mnist_5k": (1, 28, 10),
    "elpv": (1, 300, 2),
    "fashion_mnist": (1, 28, 10),
    "cifar10": (3, 32, 10),
    "image_folder": (3, 224, 20),
}


def two_steps_on_synthetic_images(path: Path) -> RunConfig:
    """The config with its images replaced by synthetic ones of the same shape, small batches, and two steps."""
    data: dict[str, Any] = read_config(path)
    channels, side, num_classes = SHAPES[data["data"]["name"]]
    side = data["data"].get("image_size", side)
    kept = {
        key: data["data"][key] for key in ("augment", "mean", "std", "memory", "crop_fraction") if key in data["data"]
    }
    split = {"calibration": max(40, num_classes), "selection": max(40, num_classes), "test": max(40, num_classes)}
    data["data"] = kept | {
        "name": "synthetic",
        "num_classes": num_classes,
        "num_images": 400 + 5 * num_classes,
        "image_size": side,
        "channels": channels,
        "split": split,
        "workers": 0,
    }
    data["train"] |= {"batch_size": 8, "micro_batch": 4, "max_steps": 2, "log_every": 1}
    return parse_run_config(data, file=path)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.slow) if p.stem.startswith("imagenet_") else p for p in CONFIGS],
    ids=lambda path: path.stem,
)
def test_config_trains_two_steps(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = two_steps_on_synthetic_images(path)
    monkeypatch.setattr("trainers.milestones.evaluation_due", lambda *_: False)  # whole splits at 224 px: minutes
    train(config, tmp_path)
    loaded = load_supernet(tmp_path)
    assert loaded.info["step"] == 2
    assert all(np.isfinite(tensor.numpy()).all() for tensor in loaded.supernet.state_dict().values())
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    losses = [value for line in lines for value in line["loss"].values()]
    assert len(lines) == 2 and all(0 < loss < 2 * np.log(loaded.space.num_classes) for loss in losses)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_header_says_how_to_run(path: Path) -> None:
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"ofa run configs/{path.name}" in line for line in header), "the command"
    assert yaml.safe_load(path.read_text())["name"] == path.stem
