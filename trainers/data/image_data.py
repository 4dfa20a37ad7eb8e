"""A divided data set: what training, recalibration, evaluation and the final report may read of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.common.errors import UserError, unknown_name
from trainers.data import test_ledger
from trainers.data.augment import augment, finish, normalise
from trainers.data.order import EpochOrders, step_uniforms, steps_per_epoch
from trainers.data.pixels import PixelReader, Request
from trainers.data.prefetch import Batch, prefetch, to_device
from trainers.data.resize import resize_batch
from trainers.data.splits import SPLITS, Indices, Partition, Split
from trainers.objective.compilation import Compiled
from trainers.settings.data import AugmentSettings

Device: TypeAlias = torch.device | str


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images in four splits. Made by `load_data`.

    `image_size`: the side training images have; `mean`, `std`: per channel, of pixels scaled to [0, 1]; `split_sha256`:
    which images of which data each split holds; `skipped`: names of corrupt images that were left out; `streamed`:
    decoded again whenever they are read. `seed`: the training seed where none is passed. `crop_fraction`: side of the
    centre crop that encoded images are decoded to, as a share of their short side;
    None for arrays. `licence` of the images, if known.
    """

    name: str
    class_names: tuple[str, ...]
    in_channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_sha256: dict[str, str]
    skipped: tuple[str, ...]
    streamed: bool
    seed: int
    augmentation: AugmentSettings
    _labels: Indices
    _partition: Partition
    _pixels: PixelReader
    _orders: EpochOrders
    crop_fraction: float | None = None
    licence: str | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_train(self) -> int:
        return len(self._partition.train)

    def size(self, split: Split) -> int:
        """Number of images in a split."""
        return len(self._indices(split))

    def class_counts(self, split: Split) -> tuple[int, ...]:
        """Number of images of each class in a split."""
        counts = np.bincount(self._labels[self._indices(split)], minlength=self.num_classes)
        return tuple(int(count) for count in counts)

    def steps_per_epoch(self, batch_size: int) -> int:
        """Whole global batches in an epoch."""
        return steps_per_epoch(self.num_train, batch_size)

    def description(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data, JSON-able."""
        return {
            "name": self.name,
            "class_names": list(self.class_names),
            "in_channels": self.in_channels,
            "image_size": self.image_size,
            "mean": list(self.mean),
            "std": list(self.std),
            "split_sizes": {split: self.size(split) for split in SPLITS},
            "split_sha256": dict(self.split_sha256),
            "num_skipped": len(self.skipped),
        }

    def batches(
        self, split: Split, *, resolution: int | None = None, batch_size: int, device: Device = "cpu"
    ) -> Iterator[Batch]:
        """All images of a split in a fixed order, not augmented, resized to `resolution` (None: as they are).

        The last batch may be smaller. The test split is refused: only `final_test` reads it.
        """
        if split == "test":
            hint = "Choose on 'selection'; the report scores the winners on the test split with final_test"
            raise UserError("the test split is read once, at the end", key="split", value=split, hint=hint)
        return self._batches(self._indices(split), resolution, batch_size, device)

    def final_test(
        self, *, resolution: int, batch_size: int, device: Device = "cpu", ledger: Path, key: str
    ) -> Iterator[Batch]:
        """The test split, for scoring network `key` once: the reading is entered in `ledger` before any image is given.

        Raises `UserError` if `key` has a score there. `test_ledger.score_once` reads, scores and enters in one go.
        """
        test_ledger.enter_opening(ledger, key=key, split_sha256=self.split_sha256["test"])
        return self._batches(self._partition.test, resolution, batch_size, device)

    def step_images(self, *, step: int, seed: int | None = None, batch_size: int) -> Indices:
        """Which images of the whole data set are the global batch of `step`, row by row."""
        seed = self.seed if seed is None else seed
        chosen = self._orders.step_indices(seed=seed, step=step, batch_size=batch_size, rows=slice(None))
        return self._partition.train[chosen]

    def train_step(
        self, *, step: int, seed: int | None = None, batch_size: int, rows: slice = slice(None), device: Device = "cpu"
    ) -> Batch:
        """Augmented images of rows `rows` of the global batch of `step`, a function of (seed, step, row) alone."""
        stream = self.training_stream(
            start_step=step, num_steps=1, seed=seed, batch_size=batch_size, rows=rows, device=device, workers=0
        )
        return next(stream)

    def training_stream(
        self,
        *,
        start_step: int,
        num_steps: int,
        seed: int | None = None,
        batch_size: int,
        rows: slice = slice(None),
        device: Device = "cpu",
        workers: int | None = None,
        compile: bool = False,
    ) -> Iterator[Batch]:
        """`train_step` of `num_steps` steps from `start_step`, read ahead by worker processes if images are streamed.

        `batch_size` is the global one. `workers` None: as configured. `compile`: with compiled arithmetic, which rounds
        otherwise. On CUDA the next batch is made while one is in use.
        """
        self.steps_per_epoch(batch_size)  # refuses an impossible batch size here, not at the first batch
        seed = self.seed if seed is None else seed
        steps = range(start_step, start_step + num_steps)
        return prefetch(self._training_stream(steps, seed, batch_size, rows, device, workers, compile), device)

    def _training_stream(
        self, steps: range, seed: int, batch_size: int, rows: slice, device: Device, workers: int | None, compile: bool
    ) -> Iterator[Batch]:
        asked: deque[tuple[Indices, NDArray[np.float32]]] = deque()  # requested, not yet arrived
        cropped = self._pixels.crops and self.augmentation.random_resized_crop is not None

        def requests() -> Iterator[Request]:
            for step in steps:
                chosen = self._orders.step_indices(seed=seed, step=step, batch_size=batch_size, rows=rows)
                uniforms = step_uniforms(seed=seed, step=step, batch_size=batch_size, rows=rows)
                asked.append((self._partition.train[chosen], uniforms))
                yield asked[-1]

        mean, std = self._normalisation(device)
        finishing = Compiled(finish) if compile else finish
        for images in self._pixels.read(requests(), workers):
            indices, uniforms = asked.popleft()
            x_BCHW = augment(
                to_device(images, device),
                uniforms,
                self.augmentation,
                mean=mean,
                std=std,
                cropped=cropped,
                finishing=finishing,
            )
            yield x_BCHW, self._labels_of(indices, device)

    def _batches(self, indices: Indices, resolution: int | None, batch_size: int, device: Device) -> Iterator[Batch]:
        mean, std = self._normalisation(device)
        parts = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        for part, images in zip(parts, self._pixels.read((part, None) for part in parts), strict=True):
            x_BCHW = normalise(to_device(images, device), mean=mean, std=std)
            yield resize_batch(x_BCHW, resolution or self.image_size), self._labels_of(part, device)

    def _indices(self, split: Split) -> Indices:
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        return self._partition.of(split)

    def _labels_of(self, indices: Indices, device: Device) -> torch.Tensor:
        return to_device(self._labels[indices], device)

    def _normalisation(self, device: Device) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1) for values in (self.mean, self.std)
        )
        return mean, std
