"""`synthetic`: images of a formula, to check a configuration at full size without its data.

Every class has a coarse colour pattern of its own; an image is its class pattern in a random strength, plus noise. It
depends on `split_seed` and its index only and is made when it is read, so a million of them need no memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_spaces.common.files import digest
from trainers.data.decode import Pixels, random_crop, resize_crop
from trainers.data.sources.base import POOL, SourceData
from trainers.data.sources.registry import SOURCES, no_path
from trainers.settings.data import DataSettings, RandomResizedCropSettings

_PATTERN_SIDE = 4


@dataclass(frozen=True)
class SyntheticStore:
    """Images by formula; `num_images` of them, class = index modulo `num_classes`."""

    num_images: int
    num_classes: int
    size: int
    channels: int
    seed: int
    encoded = False

    def __len__(self) -> int:
        return self.num_images

    def name(self, index: int) -> str:
        return f"synthetic image {index}"

    def read(self, index: int) -> Pixels:
        label = index % self.num_classes
        shape = (_PATTERN_SIDE, _PATTERN_SIDE, self.channels)
        pattern = np.random.default_rng((self.seed, 0, label)).integers(-80, 81, shape)
        rng = np.random.default_rng((self.seed, 1, index))
        rows = np.arange(self.size) * _PATTERN_SIDE // self.size
        noise = rng.integers(-32, 33, (self.size, self.size, self.channels), np.int16)
        image = 128 + pattern[rows][:, rows] * rng.uniform(0.5, 1.0) + noise
        return image.clip(0, 255).astype(np.uint8)

    def read_crop(self, index: int, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Pixels:
        image = self.read(index)
        picture = Image.fromarray(image.squeeze(2) if self.channels == 1 else image)
        return resize_crop(picture, random_crop(1.0, rule, uniforms), self.size)

    def check(self, index: int) -> None:
        return None


@SOURCES.register("synthetic")
def synthetic(settings: DataSettings, path: Path | None) -> SourceData:
    """10 classes, 100 images a class, 32 px, colour, unless the settings say otherwise."""
    no_path(settings, path)
    num_classes = settings.num_classes or 10
    store = SyntheticStore(
        num_images=settings.num_images or 100 * num_classes,
        num_classes=num_classes,
        size=settings.image_size or 32,
        channels=settings.channels or 3,
        seed=settings.split_seed,
    )
    return SourceData(
        store=store,
        labels=np.arange(store.num_images, dtype=np.int64) % num_classes,
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        official=np.full(store.num_images, POOL, np.int8),
        identity=digest(["synthetic", repr(store)]),
        origin="synthetic images",
    )
