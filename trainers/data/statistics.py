"""Mean and standard deviation of training pixels."""

from __future__ import annotations

import numpy as np

from trainers.data.pixels import PixelReader
from trainers.data.splits import Indices

#: Images that are measured, evenly spaced over the train split. The same for images in memory and streamed ones.
NUM_MEASURED = 4096
_CHUNK = 128


def pixel_statistics(pixels: PixelReader, train: Indices, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel mean and standard deviation of pixels scaled to [0, 1], to 6 digits.

    From counts of the 256 values: exact, whatever the order and the number of threads.
    """
    chosen = train[np.linspace(0, len(train) - 1, min(NUM_MEASURED, len(train))).round().astype(np.int64)]
    counts = np.zeros((channels, 256), np.int64)
    for images in pixels.read((chosen[start : start + _CHUNK], None) for start in range(0, len(chosen), _CHUNK)):
        for channel in range(channels):
            counts[channel] += np.bincount(images[:, channel].numpy().ravel(), minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    deviation = np.sqrt(np.maximum(share @ values**2 - mean**2, 0))
    # blank images have no deviation: one grey level keeps the division harmless
    return tuple(round(float(m), 6) for m in mean), tuple(round(max(float(s), 1 / 255), 6) for s in deviation)
