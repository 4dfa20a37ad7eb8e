"""`fashion_mnist`: Xiao et al. 2017, 60,000 + 10,000 garments, 28 x 28 grey, in idx files (gzip-compressed or not).

Found where Debian's package dataset-fashion-mnist puts it, in a given folder, or in torchvision's layout below that
folder (`FashionMNIST/raw`). Nothing is ever downloaded.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from trainers.data.decode import Pixels
from trainers.data.sources.base import OFFICIAL_TEST, POOL, ArrayPart, SourceData, from_arrays
from trainers.data.sources.registry import SOURCES
from trainers.settings.data import DataSettings

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@SOURCES.register("fashion_mnist")
def fashion_mnist(settings: DataSettings, path: Path | None) -> SourceData:
    root = path or DEBIAN_FOLDER
    folders = [
        folder for folder in (root, root / "FashionMNIST" / "raw", root / "raw") if _file(folder, "train-images-idx3")
    ]
    if not folders:
        hint = (
            "On Debian: apt install dataset-fashion-mnist; elsewhere set data.path to the folder of the four idx files"
        )
        raise UserError(
            "no Fashion-MNIST here: train-images-idx3-ubyte(.gz) is missing", file=root, key="data.path", hint=hint
        )
    parts = []
    for prefix, official in (("train", POOL), ("t10k", OFFICIAL_TEST)):
        images, labels = (_file(folders[0], f"{prefix}-{kind}") for kind in ("images-idx3", "labels-idx1"))
        if images is None or labels is None:
            missing = f"{prefix}-{'images-idx3' if images is None else 'labels-idx1'}-ubyte(.gz)"
            raise UserError(f"{missing} is missing", file=folders[0], key="data.path")
        parts.append(ArrayPart(read_idx(images, 3), read_idx(labels, 1), official, images.name, labels.name))
    return replace(from_arrays(parts, CLASSES, settings, folders[0]), licence="MIT")


def read_idx(file: Path, num_dimensions: int) -> Pixels:
    """The uint8 array in an idx file: magic 0x0000 08 <dimensions>, the sizes as big-endian uint32, then the bytes."""
    try:
        data = file.read_bytes()
        data = gzip.decompress(data) if file.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot be read: {error}", file=file) from None
    start = 4 + 4 * num_dimensions
    if len(data) < start or data[:4] != bytes((0, 0, 8, num_dimensions)):
        raise UserError(f"is not an idx file of unsigned bytes in {num_dimensions} dimensions", file=file)
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", num_dimensions, 4))
    if len(data) - start != math.prod(shape):
        raise UserError(
            f"holds {len(data) - start} bytes after its header, not the {math.prod(shape)} it announces", file=file
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _file(folder: Path, stem: str) -> Path | None:
    names = (f"{stem}-ubyte", f"{stem}-ubyte.gz", f"{stem.replace('-idx', '.idx')}-ubyte")
    return next((folder / name for name in names if (folder / name).is_file()), None)
