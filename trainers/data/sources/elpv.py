"""`elpv`: 2,624 solar cells of 44 modules, 300 x 300 grey electroluminescence photographs, in the package elpv-dataset.

Deitsch et al., Automatic classification of defective photovoltaic module cells in electroluminescence images, 2019
(https://arxiv.org/abs/1807.02894). The images are licensed CC BY-NC-SA 4.0: not for commercial use.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from trainers.data.decode import Decoder
from trainers.data.sources.base import POOL, SourceData
from trainers.data.sources.registry import SOURCES
from trainers.data.stores import EncodedStore, FolderFiles
from trainers.settings.data import DataSettings

SIDE = 300
CLASS_NAMES = ("functional", "defective")
LABELS = "labels.csv"
_CELL_TYPES = ("mono", "poly")


@SOURCES.register("elpv")
def elpv(settings: DataSettings, path: Path | None) -> SourceData:
    """A cell is defective if experts found that with a probability above 0.5 (it is 0, 1/3, 2/3 or 1), as published.

    `path` is a folder that holds labels.csv and what it names; left out, the installed package's. The files are read
    directly: the package itself decodes all images at once.
    """
    folder = _packaged(settings) if path is None else path
    names, labels = _read_labels(folder / LABELS)
    decoder = Decoder(settings.image_size or SIDE, settings.channels or 1, settings.crop_fraction)
    sizes = [_size(folder / name) for name in names]
    return SourceData(
        store=EncodedStore(FolderFiles(folder, names), decoder),
        labels=np.array(labels, np.int64),
        class_names=CLASS_NAMES,
        official=np.full(len(names), POOL, np.int8),
        identity=digest([names, sizes, labels, repr(decoder)]),
        origin=str(folder),
        licence="CC-BY-NC-SA-4.0",
    )


def _packaged(settings: DataSettings) -> Path:
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "the solar cells come with the package elpv-dataset (91 MB, CC BY-NC-SA 4.0), which is not installed",
            key="data.name",
            value=settings.name,
            hint="Install it with: pip install 'ofa-nas[elpv]'",
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_labels(file: Path) -> tuple[list[str], list[int]]:
    """Names of images below the file's folder, and their labels. A line: name, probability of a defect, cell type."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except FileNotFoundError:
        raise UserError("no such list of solar cells", file=file, key="data.path", hint="It lists the images") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", file=file, key="data.path") from None
    names, labels = [], []
    for number, words in enumerate(lines, start=1):
        if not words:
            continue
        probability = _probability(words[1]) if len(words) == 3 and words[2] in _CELL_TYPES else None
        if probability is None:
            message = f"line {number} is not: image, probability of a defect, {' or '.join(_CELL_TYPES)}"
            raise UserError(message, file=file, key="data.path", value=" ".join(words))
        names.append(words[0])
        labels.append(int(probability > 0.5))
    return names, labels


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # reported as a corrupt image when it is decoded
        return -1
