"""Colour jitter of a batch: brightness, contrast, saturation and hue of an image as one 3 x 3 matrix and an offset."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from trainers.data.prefetch import to_device
from trainers.settings.data import ColorJitterSettings

_LUMA = np.array([0.299, 0.587, 0.114])
#: RGB -> YIQ (FCC 1953): luma, and a plane of chroma in which hue is an angle and saturation a length.
_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


class ColorChange(NamedTuple):
    """The new colours of every image as a linear map of its old ones.

    `matrix`: (B, C, C), or (B, 1, 1) where channels do not mix; `offset`: (B, 1, 1, 1).
    """

    matrix: torch.Tensor
    offset: torch.Tensor


def jitters(settings: ColorJitterSettings) -> bool:
    return settings != ColorJitterSettings()


def color_change(
    images_BCHW: torch.Tensor, uniforms: NDArray[np.float32], settings: ColorJitterSettings
) -> ColorChange | None:
    """What jitter does to these uint8 images; None if it is off. `uniforms`: (B, 4).

    Contrast is changed about their mean luma. That is a sum of bytes, exact in any order of summation, and stays on the
    device: looking at it here would wait for everything before it.
    """
    if not jitters(settings):
        return None
    signed = uniforms.astype(np.float64) * 2 - 1
    brightness, contrast, saturation = (
        1 + signed[:, column] * limit
        for column, limit in enumerate((settings.brightness, settings.contrast, settings.saturation))
    )
    gain = brightness * contrast
    offset = torch.zeros(len(signed), dtype=torch.float64, device=images_BCHW.device)
    if settings.contrast:
        offset = to_device((1 - contrast) * brightness, images_BCHW.device) * _mean_luma(images_BCHW)
    matrix = gain[:, None, None]
    if images_BCHW.shape[1] == 3 and (settings.saturation or settings.hue):
        angle = signed[:, 3] * settings.hue * 2 * math.pi
        chroma = np.zeros((len(signed), 3, 3))
        chroma[:, 0, 0] = 1
        chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(angle)
        chroma[:, 2, 1] = saturation * np.sin(angle)
        chroma[:, 1, 2] = -chroma[:, 2, 1]
        matrix = _FROM_YIQ @ chroma @ _TO_YIQ * matrix
    matrix_BCC = to_device(matrix.astype(np.float32), images_BCHW.device)
    return ColorChange(matrix_BCC, offset.float().view(-1, 1, 1, 1))


def change_colors(x_BCHW: torch.Tensor, change: ColorChange) -> torch.Tensor:
    """New pixels, clamped to 0 .. 255."""
    matrix_BCC, offset_B111 = change
    if matrix_BCC.shape[1] == 1:
        return x_BCHW.mul(matrix_BCC[..., None]).add_(offset_B111).clamp_(0, 255)
    result = offset_B111.expand_as(x_BCHW).contiguous()
    for source in range(3):
        # products and sums are separate roundings: a fused or batched product could differ between batch sizes
        result += x_BCHW[:, source : source + 1] * matrix_BCC[:, :, source, None, None]
    return result.clamp_(0, 255)


def _mean_luma(images_BCHW: torch.Tensor) -> torch.Tensor:
    """(B,) float64."""
    sums_BC = images_BCHW.sum((2, 3), dtype=torch.int64).double()
    weights = _LUMA.tolist() if images_BCHW.shape[1] == 3 else [1.0]
    total = sums_BC[:, 0] * weights[0]
    for channel, weight in enumerate(weights[1:], start=1):
        total = total + sums_BC[:, channel] * weight
    return total / (images_BCHW.shape[2] * images_BCHW.shape[3])
