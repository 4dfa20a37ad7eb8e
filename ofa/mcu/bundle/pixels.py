"""From the bytes of a picture to what a network takes: a table of 256 for every channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latency_tables.cortex_m.quantization import Affine, Bytes


def pixel_tables(mean: Sequence[float], std: Sequence[float], affine: Affine) -> Bytes:
    """(C, 256): `(pixel / 255 - mean) / std`, in single precision as in training, then quantised."""
    pixels = np.arange(256, dtype=np.float32)
    rows = []
    for m, s in zip(np.array(mean, np.float32), np.array(std, np.float32), strict=True):
        rows.append(affine.quantize(pixels * (np.float32(1) / (np.float32(255) * s)) - m / s))
    return np.stack(rows)


def quantize_pixels(pixels: np.ndarray, tables: Bytes) -> Bytes:
    """(..., C) bytes of pictures -> the network's input of the same shape."""
    return np.stack([tables[c][pixels[..., c]] for c in range(len(tables))], axis=-1)
