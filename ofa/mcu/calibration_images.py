"""The images that ranges are found on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainers.data import ImageData

_BATCH = 250


def calibration_images(data: ImageData, *, resolution: int, num: int) -> Tensor:
    """(num, C, R, R): images of the calibration split as the network gets them, spread evenly over it; all of them if
    it has fewer.
    """
    total = data.size("calibration")
    wanted = np.linspace(0, total - 1, min(num, total)).round().astype(int)
    parts, start = [], 0
    for images, _ in data.batches("calibration", resolution=resolution, batch_size=_BATCH):
        here = wanted[(wanted >= start) & (wanted < start + len(images))] - start
        parts.append(images[here])
        start += len(images)
    return torch.cat(parts)
