"""Mistakes in the `data` section: one line with key and value."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.settings.data import DataSettings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "fashion_mnits"}, "data.name.*unknown data set 'fashion_mnits'.*Did you mean 'fashion_mnist'"),
        ({"name": "npz", "pth": "x"}, "data.pth: unknown key.*Did you mean 'path'"),
        ({"name": "npz", "augment": {"flp": True}}, "data.augment.flp: unknown key.*Did you mean 'flip'"),
        ({"name": "npz", "split": {"test": 1.5}}, "data.split.test.*strictly between 0 and 1.*1.5"),
        ({"name": "npz", "split": {"test": 0}}, "data.split.test.*at least one image"),
        ({"name": "npz", "split": {"test": True}}, "data.split.test.*a number of images"),
        ({"name": "npz", "split": {"test": "10%"}}, "data.split.test.*a number of images"),
        ({"name": "npz", "split": {"test": float("nan")}}, "data.split.test.*strictly between"),
        ({"name": "image_folder", "image_size": 4}, "data.image_size.*8.*4"),
        ({"name": "image_folder", "on_corrupt": "ignore"}, "data.on_corrupt.*'error' or 'skip'"),
        ({"name": "image_folder", "memory": "disk"}, "data.memory"),
        ({"name": "npz", "mean": [0.5]}, "data.*given together"),
        ({"name": "npz", "mean": [0.5], "std": [0.0]}, "data.std.*above 0"),
        ({"name": "npz", "mean": [0.5], "std": [0.1, 0.1]}, "mean has 1 values but std has 2"),
        ({"name": "npz", "num_classes": 4}, "synthetic"),
        ({"name": "npz", "augment": {"scale": [2, 1]}}, "data.augment.scale.*low <= high"),
        ({"name": "npz", "augment": {"erase": {"probability": 2}}}, "data.augment.erase.probability"),
        ({"name": "npz", "augment": {"random_resized_crop": {"area": [0, 1]}}}, "area is a pair"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse_settings(DataSettings, settings, file="run.yaml", prefix="data")
    assert "\n" not in str(error.value) and str(error.value).startswith("run.yaml: data")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": {"crop_padding": 32}}, "data.augment.crop_padding: .* 32"),
        ({"channels": 1, "augment": {"color_jitter": {"hue": 0.1}}}, "data.augment.color_jitter: grey"),
        ({"mean": [0.5], "std": [0.2]}, "data.mean: has 1 values, but the images have 3 channels"),
        ({"path": "x"}, "data.path: .*'synthetic' is not read from a path.*'x'"),
        ({"limit": 2000}, "data.limit: asks for more images than there are to divide: 1000"),
        ({"limit": 5}, "'class 5'.* has no image to train on"),
        ({"num_images": 5, "num_classes": 10}, "class without an image to train on: 'class 5'"),
    ],
)
def test_mistakes_that_need_the_data(load: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(**settings)


def test_settings_and_names_need_no_torch() -> None:
    code = "import sys, trainers.settings.data as s; s.DataSettings(name='npz'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=True)
