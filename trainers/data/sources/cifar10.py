"""`cifar10`: Krizhevsky 2009, 50,000 + 10,000 photographs, 32 x 32 colour.

Read from the binary version (folder `cifar-10-batches-bin`) or from a `cifar10_webp.npz` file of lossless sheets.
The python version holds pickles, which are never opened: a pickle can run any code.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from trainers.data.sources.base import OFFICIAL_TEST, POOL, ArrayPart, SourceData, from_arrays
from trainers.data.sources.npz import open_npz, read_npz
from trainers.data.sources.registry import SOURCES
from trainers.settings.data import DataSettings

#: Names a folder that holds the npz file, where `path` is left out.
FOLDER_VARIABLE = "OFA_BENCH_DATA"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32
_HINT = "Unpack https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz and set data.path to its folder"


@SOURCES.register("cifar10")
def cifar10(settings: DataSettings, path: Path | None) -> SourceData:
    if path is None:
        if not os.environ.get(FOLDER_VARIABLE):
            message = f"this key is required (or the variable {FOLDER_VARIABLE}, naming the folder of cifar10_webp.npz)"
            raise UserError(message, key="data.path", hint=_HINT)
        path = Path(os.environ[FOLDER_VARIABLE])
    if not path.exists():
        raise UserError("no such file or folder", file=path, key="data.path", hint=_HINT)
    if path.is_file():
        return read_npz(settings, path, open_npz(path))
    for folder in (path, path / "cifar-10-batches-bin"):
        if (folder / "test_batch.bin").is_file():
            return _binary(settings, folder)
    if (path / "cifar10_webp.npz").is_file():
        return read_npz(settings, path / "cifar10_webp.npz", open_npz(path / "cifar10_webp.npz"))
    for folder in (path, path / "cifar-10-batches-py"):
        if (folder / "test_batch").is_file():
            raise UserError(
                "is the python version: pickles, which are never opened", file=folder, key="data.path", hint=_HINT
            )
    raise UserError("neither test_batch.bin nor cifar10_webp.npz is here", file=path, key="data.path", hint=_HINT)


def _binary(settings: DataSettings, folder: Path) -> SourceData:
    """Each record: a label byte, then 1,024 red, green and blue bytes."""
    parts = []
    files = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for name in files:
        file = folder / name
        try:
            data = np.frombuffer(file.read_bytes(), np.uint8)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror or error}", file=file, key="data.path") from None
        if len(data) == 0 or len(data) % _RECORD:
            raise UserError(
                f"holds {len(data)} bytes, not a multiple of {_RECORD}", file=file, key="data.path", hint=_HINT
            )
        records = data.reshape(-1, _RECORD)
        images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        official = OFFICIAL_TEST if name == files[-1] else POOL
        parts.append(ArrayPart(images, records[:, 0], official, name, name))
    return from_arrays(parts, CLASSES, settings, folder)
