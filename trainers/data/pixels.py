"""Images on their way into batches: all in memory, or streamed through worker processes. Both give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from search_spaces.common.errors import UserError
from trainers.data.augment import Column
from trainers.data.decode import CorruptImage
from trainers.data.policies import Policy
from trainers.data.splits import Indices
from trainers.data.stores import ImageStore
from trainers.processes.interruption import ignore_stop_requests
from trainers.settings.data import RandomResizedCropSettings

#: Image indices of a batch, and for augmentation (batch, NUM_UNIFORMS) random numbers: None leaves the images alone.
Request: TypeAlias = tuple[Indices, NDArray[np.float32] | None]

_CROP = slice(Column.CROP, Column.CROP + 4)
_POLICY = slice(Column.POLICY, Column.POLICY + 2)


class PixelReader(Protocol):
    """Batches of uint8 images (B, C, S, S) by index."""

    @property
    def crops(self) -> bool:
        """Whether random resized crops are cut from the whole image while decoding (else from the stored square)."""
        ...

    def read(self, requests: Iterable[Request], workers: int | None = None) -> Iterator[torch.Tensor]:
        """One batch for each request, in order. `workers`: processes instead of the configured number."""
        ...


@dataclass(frozen=True, eq=False)
class MemoryPixels:
    """`images`: uint8 (num_kept, C, S, S); `positions[index]` says where image `index` is in it."""

    images: torch.Tensor
    positions: Indices
    policy: Policy | None = None
    crops = False

    def read(self, requests: Iterable[Request], workers: int | None = None) -> Iterator[torch.Tensor]:
        for indices, uniforms in requests:
            images = self.images.index_select(0, torch.from_numpy(self.positions[indices]))
            if self.policy is not None and uniforms is not None:
                images = self.policy.batch(images, uniforms[:, _POLICY])
            yield images


@dataclass(frozen=True, eq=False)
class StreamedPixels:
    """Images decoded by `workers` processes (0: by this one) whenever they are asked for."""

    store: ImageStore
    workers: int
    crop_rule: RandomResizedCropSettings | None
    policy: Policy | None = None
    crops = True

    def read(self, requests: Iterable[Request], workers: int | None = None) -> Iterator[torch.Tensor]:
        workers = self.workers if workers is None else workers
        loader: DataLoader[Any] = DataLoader(
            _Decoded(self.store, self.crop_rule, self.policy),
            batch_sampler=_Plan(requests),
            num_workers=workers,
            collate_fn=_collate,
            prefetch_factor=4 if workers else None,
            worker_init_fn=ignore_stop_requests,
            generator=torch.Generator(),  # its own: the trainer's random state must not depend on when data are read
        )
        for batch in loader:
            if isinstance(batch, _Failure):
                hint = "It could be read when this command began"
                raise UserError(f"corrupt image: {batch.reason}", file=batch.name, hint=hint)
            yield batch


@dataclass(frozen=True)
class _Failure:
    """A corrupt image as a value: an exception would come out of a worker process as a page of traceback."""

    name: str
    reason: str


class _Plan:
    """What a DataLoader takes for a batch sampler: each request as a list of (index, uniforms)."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.requests = requests

    def __iter__(self) -> Iterator[list[tuple[int, NDArray[np.float32] | None]]]:
        for indices, uniforms in self.requests:
            yield [(int(index), None if uniforms is None else uniforms[row]) for row, index in enumerate(indices)]


class _Decoded(Dataset[Any]):
    def __init__(self, store: ImageStore, crop_rule: RandomResizedCropSettings | None, policy: Policy | None) -> None:
        self.store, self.crop_rule, self.policy = store, crop_rule, policy

    def __getitem__(self, item: tuple[int, NDArray[np.float32] | None]) -> NDArray[np.uint8] | _Failure:
        index, uniforms = item
        try:
            if uniforms is None or self.crop_rule is None:
                image = self.store.read(index)
            else:
                image = self.store.read_crop(index, self.crop_rule, uniforms[_CROP])
        except CorruptImage as error:
            return _Failure(self.store.name(index), str(error))
        return image if self.policy is None or uniforms is None else self.policy.image(image, uniforms[_POLICY])


def _collate(images: list[NDArray[np.uint8] | _Failure]) -> torch.Tensor | _Failure:
    good = []
    for image in images:
        if isinstance(image, _Failure):
            return image
        good.append(image)
    return torch.from_numpy(np.ascontiguousarray(np.stack(good).transpose(0, 3, 1, 2)))
