"""Colour jitter of a batch: brightness, contrast, saturation and hue of an image as one 3 x 3 matrix and an offset."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.settings_data import ColorJitterSettings

_LUMA = np.array([0.299, 0.587, 0.114])
#: RGB -> YIQ (FCC 1953): luma, and a plane of chroma in which hue is an angle and saturation a length.
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


def jitters(settings: ColorJitterSettings) -> bool:
    return settings != ColorJitterSettings()


def jitter_colors(
    x_BCHW: torch.Tensor, images_BCHW: torch.Tensor, uniforms: NDArray[np.float32], settings: ColorJitterSettings
) -> torch.Tensor:
    """New pixels, clamped to 0 .. 255. `uniforms`: (B, 4). Contrast is changed about the mean luma of `images_BCHW`.

    That mean is a sum of bytes, exact in any order of summation.
    """
    signed = uniforms.astype(np.float64) * 2 - 1
    brightness, contrast, saturation = (
        1 + signed[:, column] * limit
        for column, limit in enumerate((settings.brightness, settings.contrast, settings.saturation))
    )
    channels = x_BCHW.shape[1]
    luma = _LUMA if channels == 3 else np.ones(1)
    offset = np.zeros(len(signed))
    if settings.contrast:
        sums = images_BCHW.sum((2, 3), dtype=torch.int64).cpu().numpy()
        offset = (1 - contrast) * brightness * (sums * luma).sum(axis=1) / (x_BCHW.shape[2] * x_BCHW.shape[3])
    gain = brightness * contrast
    if channels == 1 or not (settings.saturation or settings.hue):
        return x_BCHW.mul(_column(gain, x_BCHW)).add_(_column(offset, x_BCHW)).clamp_(0, 255)
    angle = signed[:, 3] * settings.hue * 2 * math.pi
    chroma = np.zeros((len(signed), 3, 3))
    chroma[:, 0, 0] = 1
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(angle)
    chroma[:, 2, 1] = saturation * np.sin(angle)
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    matrix = _FROM_YIQ @ chroma @ _TO_YIQ * gain[:, None, None]
    result = _column(offset, x_BCHW).expand_as(x_BCHW).contiguous()
    for source in range(3):
        # products and sums are separate roundings: a fused or batched product could differ between batch sizes
        result += x_BCHW[:, source : source + 1] * _column(matrix[:, :, source], x_BCHW)
    return result.clamp_(0, 255)


def _column(values: NDArray[np.float64], like: torch.Tensor) -> torch.Tensor:
    """(B,) or (B, C) numbers as a (B, 1 or C, 1, 1) tensor on the device of `like`."""
    tensor = torch.from_numpy(values.astype(np.float32)).to(like.device, non_blocking=True)
    return tensor.view(len(values), -1, 1, 1)
