"""Tiny synthetic data sets on disk; the cache of checked images goes to a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainers.data import ImageData, load_data
from trainers.settings.data import DataSettings

Load = Callable[..., ImageData]
MakeFolder = Callable[..., Path]
MakeNpz = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def load() -> Load:
    def load(name: str = "synthetic", *, seed: int = 0, base: Path | None = None, **settings: Any) -> ImageData:
        return load_data(DataSettings.model_validate({"name": name, **settings}), seed=seed, base=base)

    return load


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder({"cat": 5, "dog": 3})`: class folders of noise images, 20 x 14, every second one a JPEG."""

    def make(classes: dict[str, int], below: str = "images") -> Path:
        rng = np.random.default_rng(len(below))
        for name, count in classes.items():
            folder = tmp_path / below / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = Image.fromarray(rng.integers(0, 256, (14, 20, 3), np.uint8))
                image.save(folder / f"{number:03d}.{'jpg' if number % 2 else 'png'}")
        return tmp_path / below

    return make


@pytest.fixture
def make_npz(tmp_path: Path) -> MakeNpz:
    """`make_npz(labels=...)`: 24 images of 10 x 10 in 3 classes, with arrays replaced (or, by None, left out)."""

    def make(**arrays: Any) -> Path:
        rng = np.random.default_rng(7)
        content = {"images": rng.integers(0, 256, (24, 10, 10, 3), np.uint8), "labels": np.arange(24) % 3, **arrays}
        path = tmp_path / "data.npz"
        np.savez(path, **{key: array for key, array in content.items() if array is not None})
        return path

    return make
