"""`npz`: one numpy file. Arrays of any of these layouts, in which `test` and `val` are official splits:

* `images` and `labels`;
* `train_images`, `train_labels`, and the same of `val` and `test` (MedMNIST's names); `x_train`, `y_train` ... also do;
* `train_jpeg`, `train_offsets`, `train_labels`: encoded images one after another, and where each begins (and the end);
* `train_webp`, `train_offsets`, `train_labels`, `sheet` = (rows, columns, side): sheets of many images.

Images are uint8 (num, side, side[, channels]). Optional: `classes`, the names. Arrays of python objects are refused.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from search_spaces.common.errors import UserError
from search_spaces.common.progress import progress_bar
from trainers.data.decode import Decoder, Pixels
from trainers.data.sources.base import (
    OFFICIAL_SELECTION,
    OFFICIAL_TEST,
    POOL,
    ArrayPart,
    SourceData,
    checked_labels,
    from_arrays,
    number_names,
)
from trainers.data.sources.registry import SOURCES, needed_path
from trainers.data.stores import BlobParts, ChainedBytes, EncodedStore
from trainers.settings.data import DataSettings

Arrays = Mapping[str, NDArray[Any]]
_SPLITS = {"train": POOL, "val": OFFICIAL_SELECTION, "test": OFFICIAL_TEST}


@SOURCES.register("npz")
def npz(settings: DataSettings, path: Path | None) -> SourceData:
    path = needed_path(settings, path, "a .npz file")
    return read_npz(settings, path, open_npz(path))


def open_npz(path: Path) -> Arrays:
    """All arrays of the file. Raises `UserError` for anything that is not an npz file of plain arrays."""
    try:
        with open(path, "rb") as stream:
            if stream.read(2) != b"PK":
                hint = "Write it with numpy.savez(file, images=..., labels=...)"
                raise UserError("is not an npz file (a zip of arrays); pickles are never opened", file=path, hint=hint)
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except UserError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            raise UserError(
                "holds pickled objects, which are never opened", file=path, hint="Store plain arrays"
            ) from None
        raise UserError(f"cannot be read: {error}", file=path) from None
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UserError(f"cannot be read: {error}", file=path, key="data.path") from None


def read_npz(settings: DataSettings, path: Path, arrays: Arrays) -> SourceData:
    """The data set in `arrays`, whatever its layout."""
    names = _class_names(arrays, path)
    encoded = [split for split in _SPLITS if f"{split}_jpeg" in arrays]
    if encoded:
        return _encoded(settings, path, arrays, encoded, names)
    parts = []
    for split, official in _SPLITS.items():
        if f"{split}_webp" in arrays:
            images = _sheets(arrays, split, path, max(settings.workers, 1))
            labels_key = f"{split}_labels"
            parts.append(ArrayPart(images, _array(arrays, labels_key, path), official, f"{split}_webp", labels_key))
            continue
        layouts = [(f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}")]
        for images_key, labels_key in ([("images", "labels")] if split == "train" else []) + layouts:
            if images_key in arrays:
                labels = _array(arrays, labels_key, path)
                parts.append(ArrayPart(arrays[images_key], labels, official, images_key, labels_key))
                break
    if not parts or parts[0].official != POOL:
        hint = f"It holds: {', '.join(sorted(arrays)) or 'nothing'}"
        raise UserError("holds no array 'images' or 'train_images'", file=path, key="data.path", hint=hint)
    return from_arrays(parts, names, settings, path)


def _encoded(
    settings: DataSettings, path: Path, arrays: Arrays, splits: list[str], names: list[str] | None
) -> SourceData:
    """Encoded images, decoded later. Their side is the first image's unless `image_size` says otherwise."""
    blobs, labels, official = [], [], []
    identity = hashlib.sha256()
    for split in splits:
        blob, offsets = arrays[f"{split}_jpeg"], _offsets(arrays, split, f"{split}_jpeg", path)
        blobs.append(BlobParts(f"{path}: {split}_jpeg", blob, offsets))
        key = f"{split}_labels"
        labels.append(checked_labels(_array(arrays, key, path), len(offsets) - 1, names, path, key))
        official.append(np.full(len(offsets) - 1, _SPLITS[split], np.int8))
        for array in (np.ascontiguousarray(blob), offsets, labels[-1]):
            identity.update(array.data)
    all_labels = np.concatenate(labels)
    if names is None:
        names = number_names(all_labels, path, f"{splits[0]}_labels")
    side = settings.image_size or _first_side(blobs[0], path)
    decoder = Decoder(side, settings.channels or 3, settings.crop_fraction)
    identity.update(repr((decoder, names)).encode())
    store = EncodedStore(ChainedBytes(tuple(blobs)), decoder)
    return SourceData(store, all_labels, tuple(names), np.concatenate(official), identity.hexdigest(), str(path))


def _first_side(blob: BlobParts, path: Path) -> int:
    try:
        return min(Image.open(blob.open(0)).size)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"the first image cannot be decoded: {error}", file=path, key=blob.name(0)) from None


def _sheets(arrays: Arrays, split: str, path: Path, threads: int) -> Pixels:
    """Cut sheets of rows x columns images into single images (num, side, side, 3)."""
    layout = _array(arrays, "sheet", path)
    if layout.shape != (3,) or layout.dtype.kind not in "iu":
        raise UserError("is (rows, columns, side)", file=path, key="sheet", value=layout.tolist())
    rows, columns, side = (int(number) for number in layout.tolist())
    offsets = _offsets(arrays, split, f"{split}_webp", path)
    sheets = BlobParts(f"{path}: {split}_webp", arrays[f"{split}_webp"], offsets)
    images = np.empty((len(sheets), rows, columns, side, side, 3), np.uint8)

    def cut(index: int) -> None:
        try:
            sheet = np.asarray(Image.open(sheets.open(index)).convert("RGB"))
            images[index] = sheet.reshape(rows, side, columns, side, 3).transpose(0, 2, 1, 3, 4)
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"this sheet cannot be decoded: {error}", file=path, key=f"{split}_webp[{index}]") from None
        advance()

    with (
        progress_bar(f"decoding {split} images", len(sheets)) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        list(pool.map(cut, range(len(sheets))))
    return images.reshape(-1, side, side, 3)


def _offsets(arrays: Arrays, split: str, blob_key: str, path: Path) -> NDArray[np.int64]:
    key = f"{split}_offsets"
    offsets, blob = _array(arrays, key, path), arrays[blob_key]
    if blob.dtype != np.uint8 or blob.ndim != 1:
        raise UserError(f"is one row of uint8 bytes, not {blob.dtype} of shape {blob.shape}", file=path, key=blob_key)
    good = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "iu"
    if good:
        offsets = offsets.astype(np.int64)
        good = bool(offsets[0] == 0 and (np.diff(offsets) > 0).all() and offsets[-1] == len(blob))
    if not good:
        raise UserError(f"does not rise from 0 to the {len(blob)} bytes of {blob_key!r}", file=path, key=key)
    return offsets


def _array(arrays: Arrays, key: str, path: Path) -> NDArray[Any]:
    if key not in arrays:
        raise UserError(
            "this array is missing", file=path, key=key, hint=f"The file holds: {', '.join(sorted(arrays))}"
        )
    return arrays[key]


def _class_names(arrays: Arrays, path: Path) -> list[str] | None:
    for key in ("classes", "class_names"):
        if key in arrays:
            names = arrays[key]
            if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) != len(names):
                raise UserError("is one row of different class names (text)", file=path, key=key)
            return [str(name) for name in names]
    return None
