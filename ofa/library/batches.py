"""Batches of one's own: any iterable of (images, labels), or of images alone, checked and resized for a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from trainers.data.resize import resize_batch

#: a DataLoader, a list of tensors or pairs ...: images (B, C, S, S), float, normalised; labels (B,) of whole numbers
Batches: TypeAlias = Iterable[Tensor | tuple[Tensor, Tensor]]


def labelled(
    batches: Batches, space: SearchSpace, resolution: int, device: torch.device, *, key: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images (B, C, R, R), labels (B,)) on `device`; raises `UserError` for batches that are none of the space's.

    Images of another size are resized as the data module does: antialiased bilinear.
    """
    empty = True
    for batch in batches:
        if isinstance(batch, Tensor) or len(batch) != 2:
            raise UserError("needs pairs of images and labels", key=key, value=type(batch).__name__)
        images, labels = batch
        if labels.ndim != 1 or len(labels) != len(images) or labels.is_floating_point():
            what = f"labels of shape {tuple(labels.shape)} and type {labels.dtype} for {len(images)} images"
            raise UserError(f"{what}: one whole number an image is needed", key=key)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < space.num_classes:
            what = f"labels from {int(labels.min())} to {int(labels.max())} for {space.num_classes} classes"
            raise UserError(what, key=key)
        empty = empty and not len(images)
        if len(images):
            yield _resized(images, space, resolution, device, key), labels.to(device)
    if empty:
        raise UserError("holds no images", key=key, hint="An iterator that was read to its end is empty: give a list")


def images_of(batches: Batches, space: SearchSpace, resolution: int, device: torch.device, *, key: str) -> list[Tensor]:
    """All images (B, C, R, R) of the batches, labels left out, in one order: a loader that shuffles is read once."""
    found = []
    for batch in batches:
        images = batch if isinstance(batch, Tensor) else batch[0]
        if len(images):
            found.append(_resized(images, space, resolution, device, key))
    if not found:
        raise UserError("holds no images", key=key, hint="An iterator that was read to its end is empty: give a list")
    return found


def _resized(images: Tensor, space: SearchSpace, resolution: int, device: torch.device, key: str) -> Tensor:
    square = images.ndim == 4 and images.shape[2] == images.shape[3]
    if not square or images.shape[1] != space.in_channels or not images.is_floating_point():
        what = f"images of shape {tuple(images.shape)} and type {images.dtype}"
        wanted = f"float ones of (batch, {space.in_channels}, side, side) are needed"
        raise UserError(f"{what}: {wanted}", key=key, hint="Crop to squares, scale and normalise them before")
    return resize_batch(images.to(device), resolution)
