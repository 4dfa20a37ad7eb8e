"""`image_folder`: one folder a class, `root/class/any/file.jpg`, or `root/{train,val,test}/class/...`.

In the second layout `test` is the test split and `val` the selection split; `val` without `test` (ImageNet's layout) is
the test split, and the selection split is drawn from `train`. Class names are folder names in sorted order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from trainers.data.decode import Decoder
from trainers.data.sources.base import OFFICIAL_SELECTION, OFFICIAL_TEST, POOL, SourceData
from trainers.data.sources.registry import SOURCES, needed_path
from trainers.data.stores import EncodedStore, FolderFiles
from trainers.settings.data import DataSettings

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))
DEFAULT_SIDE = 224
_VALIDATION = ("val", "valid", "validation")


@SOURCES.register("image_folder")
def image_folder(settings: DataSettings, path: Path | None) -> SourceData:
    root = needed_path(settings, path, "a folder with one folder of images for each class")
    if not root.is_dir():
        raise UserError(
            "is a file; 'image_folder' needs a folder with one folder of images for each class",
            file=root,
            key="data.path",
        )
    names, labels, official, sizes = [], [], [], []
    class_names: list[str] = []
    for part, code in _parts(root):
        folder = root / part
        classes = _folders(folder)
        if code == POOL:
            class_names = classes
            _check_classes(class_names, folder)
        unknown = sorted(set(classes) - set(class_names))
        if unknown:
            raise UserError("no class of this name is in the train folder", file=folder / unknown[0], key="data.path")
        for label, name in enumerate(class_names):
            found = [] if name not in classes else sorted(_images(folder / name, Path(part) / name))
            if not found and code == POOL:
                hint = f"Images end in {', '.join(sorted(EXTENSIONS))}"
                raise UserError(f"class {name!r} has no image", file=folder / name, key="data.path", hint=hint)
            names += [file for file, _ in found]
            sizes += [size for _, size in found]
            labels += [label] * len(found)
            official += [code] * len(found)
    decoder = Decoder(settings.image_size or DEFAULT_SIDE, settings.channels or 3, settings.crop_fraction)
    return SourceData(
        store=EncodedStore(FolderFiles(root, names), decoder),
        labels=np.array(labels, np.int64),
        class_names=tuple(class_names),
        official=np.array(official, np.int8),
        identity=digest([names, sizes, labels, class_names, repr(decoder)]),
        origin=str(root),
    )


def _parts(root: Path) -> list[tuple[str, int]]:
    """(sub-folder, official code), the images to be divided first."""
    folders = _folders(root)
    validation = next((name for name in _VALIDATION if name in folders), None)
    if "train" not in folders or (validation is None and "test" not in folders):
        return [("", POOL)]
    if "test" not in folders:
        return [("train", POOL), (str(validation), OFFICIAL_TEST)]
    parts = [("train", POOL), ("test", OFFICIAL_TEST)]
    return parts if validation is None else [*parts, (validation, OFFICIAL_SELECTION)]


def _check_classes(classes: list[str], folder: Path) -> None:
    if classes:
        return
    if any(True for _ in _images(folder, Path())):
        raise UserError(
            "the images are not in class folders",
            file=folder,
            key="data.path",
            hint="Put them into one folder for each class",
        )
    raise UserError("this data folder is empty: it holds no class folder", file=folder, key="data.path")


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in _scan(folder) if entry.is_dir() and not entry.name.startswith("."))


def _images(folder: Path, below: Path) -> Iterator[tuple[str, int]]:
    """(path from the root, bytes) of the images in and below `folder`; hidden files are left out."""
    for entry in _scan(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _images(folder / entry.name, below / entry.name)
        elif Path(entry.name).suffix.lower() in EXTENSIONS:
            yield str(below / entry.name), _size(entry)


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # a dangling link: reported as a corrupt image when it is decoded
        return -1


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(
            f"this data folder cannot be read: {error.strerror or error}", file=folder, key="data.path"
        ) from None
