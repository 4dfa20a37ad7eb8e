"""Elastic resolution: a batch resized on its device."""

from __future__ import annotations

import torch
from torch.nn import functional


def resize_batch(x_BCHW: torch.Tensor, resolution: int) -> torch.Tensor:
    """Square images of side `resolution`, antialiased bilinear; the same tensor if they have that side already."""
    if x_BCHW.shape[-2:] == (resolution, resolution):
        return x_BCHW
    return functional.interpolate(
        x_BCHW, (resolution, resolution), mode="bilinear", antialias=True, align_corners=False
    )
