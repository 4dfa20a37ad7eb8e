"""Augmentation of a whole batch at once: uint8 (B, C, S, S) -> float32 (B, C, S, S), every image by its own numbers.

Operations act on one image at a time, with elementwise arithmetic that is rounded the same wherever an image sits in a
batch, so a batch cut into parts gives bit-equal images. What needs no float (crop, flips) is one gather of bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from trainers.data.color import ColorChange, change_colors, color_change
from trainers.data.prefetch import to_device
from trainers.settings.data import AugmentSettings, EraseSettings

_PADDING_OF_GRID_SAMPLE = {"zeros": "zeros", "edge": "border", "reflect": "reflection"}


class Column(IntEnum):
    """Which of an image's random numbers decides what. Never renumber: it would change every run."""

    CROP = 0  # 4 columns: area, ratio, top, left of the random resized crop
    SHIFT_Y = 4
    SHIFT_X = 5
    FLIP = 6
    VERTICAL_FLIP = 7
    ROTATE = 8
    TRANSLATE_Y = 9
    TRANSLATE_X = 10
    SCALE = 11
    SHEAR = 12
    COLOR = 13  # 4 columns: brightness, contrast, saturation, hue
    ERASE = 17
    ERASE_AREA = 18
    ERASE_RATIO = 19
    ERASE_TOP = 20
    ERASE_LEFT = 21
    POLICY = 22  # 2 columns


def augment(
    images_BCHW: torch.Tensor,
    uniforms: NDArray[np.float32],
    settings: AugmentSettings,
    *,
    mean: torch.Tensor,
    std: torch.Tensor,
    cropped: bool = False,
    finishing: Callable[..., torch.Tensor] | None = None,
) -> torch.Tensor:
    """Augment and normalise. `mean`, `std`: (C, 1, 1), of pixels scaled to [0, 1], on the images' device.

    Policies have changed the images already. `cropped`: the random resized crop was already done while decoding.
    `finishing`: another form of `finish`, such as a compiled one.
    """
    images_BCHW = _shift_and_flip(images_BCHW, uniforms, settings)
    crop = None if cropped else settings.random_resized_crop
    x_BCHW = images_BCHW
    if crop is not None or _is_affine(settings):
        x_BCHW = _warp(images_BCHW.float(), _affine(uniforms, settings, use_crop=crop is not None), settings)
    change = color_change(images_BCHW, uniforms[:, Column.COLOR : Column.COLOR + 4], settings.color_jitter)
    erased = None if settings.erase is None else _erased(images_BCHW, uniforms, settings.erase)
    return (finishing or finish)(x_BCHW, change, mean, std, erased)


def finish(
    x_BCHW: torch.Tensor,
    change: ColorChange | None,
    mean: torch.Tensor,
    std: torch.Tensor,
    erased_B1HW: torch.Tensor | None,
) -> torch.Tensor:
    """What augmentation computes pixel by pixel: colours, normalisation, erased rectangles set to 0, the mean.

    `x_BCHW`: uint8 or float pixels in 0 .. 255; float ones may be overwritten.
    """
    if change is not None:
        x_BCHW = change_colors(x_BCHW.float(), change)
    x_BCHW = normalise(x_BCHW, mean=mean, std=std)
    return x_BCHW if erased_B1HW is None else x_BCHW.masked_fill_(erased_B1HW, 0.0)


def normalise(x_BCHW: torch.Tensor, *, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(x / 255 - mean) / std of uint8 or float pixels in 0 .. 255. Float input is overwritten."""
    x_BCHW = x_BCHW if x_BCHW.is_floating_point() else x_BCHW.float()
    return x_BCHW.mul_(1 / (255 * std)).sub_(mean / std)


def _shift_and_flip(images: torch.Tensor, uniforms: NDArray[np.float32], settings: AugmentSettings) -> torch.Tensor:
    """Padded random crop and flips as one gather."""
    pad = settings.crop_padding
    if not (pad or settings.flip or settings.vertical_flip):
        return images
    batch, channels, side = images.shape[:3]
    along = np.arange(side)
    coordinates = []
    for shift, flip, wanted in (
        (Column.SHIFT_Y, Column.VERTICAL_FLIP, settings.vertical_flip),
        (Column.SHIFT_X, Column.FLIP, settings.flip),
    ):
        flipped = (uniforms[:, flip, None] < 0.5) & wanted
        offset = (uniforms[:, shift, None] * (2 * pad + 1)).astype(np.int64)
        coordinates.append(np.where(flipped, side - 1 - along, along) + offset)
    padded = _pad(images, pad, settings.padding)
    flat = (coordinates[0][:, :, None] * (side + 2 * pad) + coordinates[1][:, None, :]).reshape(batch, 1, -1)
    index = to_device(flat, images.device).expand(-1, channels, -1)
    return padded.reshape(batch, channels, -1).gather(2, index).view(batch, channels, side, side)


def _pad(images: torch.Tensor, pad: int, mode: str) -> torch.Tensor:
    if pad == 0:
        return images
    if mode == "zeros":
        return functional.pad(images, (pad, pad, pad, pad))
    inside = np.arange(images.shape[-1])
    source = np.pad(inside, pad, mode="edge") if mode == "edge" else np.pad(inside, pad, mode="reflect")
    index = to_device(source, images.device)
    return images.index_select(2, index).index_select(3, index)


def _is_affine(settings: AugmentSettings) -> bool:
    return bool(settings.rotate or settings.translate or settings.shear or settings.scale != (1.0, 1.0))


def _affine(uniforms: NDArray[np.float32], settings: AugmentSettings, *, use_crop: bool) -> NDArray[np.float32]:
    """(B, 2, 3): where in the source, in coordinates -1 .. 1, each output pixel comes from."""
    signed = uniforms.astype(np.float64) * 2 - 1
    angle = signed[:, Column.ROTATE] * math.radians(settings.rotate)
    shear = np.tan(signed[:, Column.SHEAR] * math.radians(settings.shear))
    low, high = settings.scale
    zoom = 1 / (low * (high / low) ** uniforms[:, Column.SCALE].astype(np.float64))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    matrix = np.zeros((len(uniforms), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, cos * shear - sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, sin * shear + cos
    matrix[:, 0, 2] = signed[:, Column.TRANSLATE_X] * 2 * settings.translate
    matrix[:, 1, 2] = signed[:, Column.TRANSLATE_Y] * 2 * settings.translate
    if use_crop:
        assert settings.random_resized_crop is not None
        width, height = _rectangle(
            uniforms[:, Column.CROP],
            uniforms[:, Column.CROP + 1],
            settings.random_resized_crop.area,
            settings.random_resized_crop.ratio,
        )
        top, left = uniforms[:, Column.CROP + 2] * 2 - 1, uniforms[:, Column.CROP + 3] * 2 - 1
        matrix *= np.stack((width, height), 1)[:, :, None]
        matrix[:, :, 2] += np.stack((left * (1 - width), top * (1 - height)), 1)
    return matrix.astype(np.float32)


def _warp(x: torch.Tensor, matrix: NDArray[np.float32], settings: AugmentSettings) -> torch.Tensor:
    side = x.shape[-1]
    theta = to_device(matrix, x.device)[..., None, None]
    centres = (torch.arange(side, device=x.device, dtype=torch.float32) * 2 + 1) / side - 1
    grid = torch.stack(
        [theta[:, row, 0] * centres + theta[:, row, 1] * centres[:, None] + theta[:, row, 2] for row in (0, 1)], dim=-1
    )
    # a crop lies inside the image: at the rim, bilinear interpolation must not mix in what is outside
    padding = _PADDING_OF_GRID_SAMPLE[settings.padding if _is_affine(settings) else "edge"]
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _erased(x: torch.Tensor, uniforms: NDArray[np.float32], settings: EraseSettings) -> torch.Tensor:
    """(B, 1, S, S): where a rectangle is erased, on the device of `x`."""
    width, height = _rectangle(
        uniforms[:, Column.ERASE_AREA], uniforms[:, Column.ERASE_RATIO], settings.area, settings.ratio
    )
    chosen = uniforms[:, Column.ERASE] < settings.probability
    centres = (np.arange(x.shape[-1]) + 0.5) / x.shape[-1]
    inside = []
    for start, length in ((Column.ERASE_TOP, height), (Column.ERASE_LEFT, width)):
        begin = uniforms[:, start] * (1 - length)
        inside.append((centres >= begin[:, None]) & (centres < (begin + length)[:, None]))
    mask = inside[0][:, :, None] & inside[1][:, None, :] & chosen[:, None, None]
    return to_device(mask, x.device)[:, None]


def _rectangle(
    area_uniform: NDArray[np.float32],
    ratio_uniform: NDArray[np.float32],
    area: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height, as shares of the side, of rectangles of uniform area and log-uniform aspect ratio."""
    share = area[0] + (area[1] - area[0]) * area_uniform.astype(np.float64)
    shape = ratio[0] * (ratio[1] / ratio[0]) ** ratio_uniform.astype(np.float64)
    return np.minimum(1.0, np.sqrt(share * shape)), np.minimum(1.0, np.sqrt(share / shape))
