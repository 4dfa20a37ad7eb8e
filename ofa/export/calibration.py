"""The images that a form in integers takes the ranges of its values from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainers.data import ImageData

_BATCH = 250


def calibration_images(data: ImageData, *, resolution: int, num: int) -> Tensor:
    """`num` images (N, C, R, R) of the calibration split (all, if it has fewer), at equal distances: data sets that lie
    class by class give some of every class.
    """
    size = data.size("calibration")
    chosen = np.unique(np.linspace(0, size - 1, min(num, size)).round().astype(np.int64))
    found, start = [], 0
    for images, _ in data.batches("calibration", resolution=resolution, batch_size=_BATCH):
        inside = chosen[(chosen >= start) & (chosen < start + len(images))] - start
        found.append(images[torch.from_numpy(inside)])
        start += len(images)
    return torch.cat(found)
