"""What every data set is read into: a store of images, labels, class names, and the division it came with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search_spaces.common.errors import UserError
from trainers.data.decode import Pixels
from trainers.data.stores import ArrayStore, ImageStore
from trainers.settings.data import DataSettings

#: Codes of `SourceData.official`: to be divided by us, or put by the data set into its own validation or test set.
POOL, OFFICIAL_SELECTION, OFFICIAL_TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class SourceData:
    """A data set before it is divided. `labels` (num,) int64, `official` (num,) of the codes above.

    `identity` is a hash of the content: two runs whose data differ never compare as equal. `origin` names the data in
    messages. `licence`: what its publishers state, as SPDX has it.
    """

    store: ImageStore
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    official: NDArray[np.int8]
    identity: str
    origin: str
    licence: str | None = None


@dataclass(frozen=True, eq=False)
class ArrayPart:
    """Decoded images (num, side, side) or (num, side, side, channels) with labels, and which official part they are."""

    images: NDArray[Any]
    labels: NDArray[Any]
    official: int = POOL
    images_key: str = "images"
    labels_key: str = "labels"


def from_arrays(
    parts: Sequence[ArrayPart], class_names: Sequence[str] | None, settings: DataSettings, origin: str | Path
) -> SourceData:
    """Check arrays and join them. Raises `UserError` for a wrong dtype, shape, label or class.

    `class_names` None: the classes are the numbers 0 .. largest label.
    """
    if settings.image_size is not None:
        side = np.shape(parts[0].images)[1] if np.ndim(parts[0].images) > 1 else "?"
        hint = f"These images are {side} px already; the space's resolutions resize them"
        raise UserError("applies to encoded images only", key="data.image_size", value=settings.image_size, hint=hint)
    images = [_checked_images(part, origin) for part in parts]
    labels = [checked_labels(part.labels, len(part.images), class_names, origin, part.labels_key) for part in parts]
    for part, array in zip(parts, images, strict=True):
        if array.shape[1:] != images[0].shape[1:]:
            message = f"images are {_shape(array)} but {parts[0].images_key!r} holds {_shape(images[0])}"
            raise UserError(message, file=origin, key=part.images_key)
    joined = to_channels(np.concatenate(images), settings.channels)
    all_labels = np.concatenate(labels)
    names = number_names(all_labels, origin, parts[0].labels_key) if class_names is None else class_names
    identity = hashlib.sha256(repr((joined.shape, list(names))).encode())
    identity.update(np.ascontiguousarray(joined).data)
    identity.update(all_labels.tobytes())
    official = np.repeat(np.array([part.official for part in parts], np.int8), [len(item) for item in labels])
    return SourceData(
        store=ArrayStore(joined),
        labels=all_labels,
        class_names=tuple(names),
        official=official,
        identity=identity.hexdigest(),
        origin=str(origin),
    )


def checked_labels(
    labels: NDArray[Any], num_images: int, class_names: Sequence[str] | None, origin: str | Path, key: str
) -> NDArray[np.int64]:
    """Labels as (num_images,) int64, each the number of a class."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != num_images:
        message = f"shape {labels.shape} does not give one label to each of {num_images} images"
        raise UserError(message, file=origin, key=key)
    if labels.dtype.kind not in "iu":
        raise UserError(f"labels are whole numbers, but these are {labels.dtype}", file=origin, key=key)
    num_classes = len(class_names) if class_names is not None else None
    wrong = (labels < 0) | (labels >= num_classes) if num_classes is not None else labels < 0
    if wrong.any():
        first = int(np.argmax(wrong))
        rule = f"0 .. {num_classes - 1}" if num_classes is not None else "0 and above"
        message = f"label {labels[first]} of image {first} is out of range: labels are {rule} ({wrong.sum()} are not)"
        raise UserError(message, file=origin, key=key)
    return labels.astype(np.int64)


def number_names(labels: NDArray[np.int64], origin: str | Path, key: str) -> list[str]:
    """The numbers 0 .. largest label as class names."""
    largest = int(labels.max())
    if largest >= len(labels):
        message = f"the largest label is {largest}, but there are only {len(labels)} images"
        raise UserError(message, file=origin, key=key, hint="Labels number the classes from 0 without gaps")
    return [str(number) for number in range(largest + 1)]


def to_channels(images: Pixels, channels: int | None) -> Pixels:
    """(..., C) images with the wanted number of channels: grey repeated, or colour weighted to luma (ITU-R 601)."""
    if channels is None or images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    weights = np.array([19595, 38470, 7471], np.uint32)
    grey = np.empty((*images.shape[:-1], 1), np.uint8)
    for start in range(0, len(images), 4096):
        part = images[start : start + 4096].astype(np.uint32)
        grey[start : start + 4096, ..., 0] = (part @ weights + 0x8000) >> 16
    return grey


def _checked_images(part: ArrayPart, origin: str | Path) -> Pixels:
    images, key = part.images, part.images_key
    if images.dtype != np.uint8:
        hint = "Images are stored as uint8 pixels, 0 .. 255; they are scaled and normalised while training"
        raise UserError(f"images are uint8, but these are {images.dtype}", file=origin, key=key, hint=hint)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        message = f"shape {part.images.shape} is not (images, height, width) or (images, height, width, 1 or 3)"
        order = "Channels come last" if images.ndim == 4 and images.shape[1] in (1, 3) else None
        raise UserError(message, file=origin, key=key, hint=order)
    if len(images) == 0:
        raise UserError("holds no images", file=origin, key=key)
    if images.shape[1] != images.shape[2]:
        raise UserError(f"images are square, but these are {_shape(images)}", file=origin, key=key)
    return images


def _shape(images: NDArray[Any]) -> str:
    return " x ".join(str(size) for size in images.shape[1:])
