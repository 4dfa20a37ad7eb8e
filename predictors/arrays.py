"""Checks of the arrays a model is rebuilt from: a file may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def take(
    arrays: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int | None, ...]]
) -> dict[str, npt.NDArray[Any]]:
    """The finite float arrays of exactly the names and shapes asked for (None: any length); `ValueError` otherwise."""
    if set(arrays) != set(shapes):
        raise ValueError(f"holds the arrays {sorted(arrays)}, not {sorted(shapes)}")
    for name, shape in shapes.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            want in (None, have) for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"array {name!r} has shape {array.shape}, not {shape}")
        if array.dtype not in (np.float32, np.float64) or not np.isfinite(array).all():
            raise ValueError(f"array {name!r} does not hold finite floating-point numbers")
    return {name: arrays[name] for name in shapes}
