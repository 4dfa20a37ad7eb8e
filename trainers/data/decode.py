"""Encoded image -> uint8 pixels of a fixed side, with every failure reported as `CorruptImage`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from trainers.settings.data import RandomResizedCropSettings

Pixels = NDArray[np.uint8]
_EXIF_ORIENTATION = 0x0112


class CorruptImage(Exception):
    """An image that cannot be decoded completely; the text is the reason."""


@dataclass(frozen=True)
class Crop:
    """A part of an image as shares of its sides, so that it is known before the image is decoded."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Decoder:
    """Decodes images to (size, size, channels). `crop_fraction`: share of the short side that the centre crop keeps."""

    size: int
    channels: int
    crop_fraction: float = 1.0

    def centre(self, stream: BinaryIO) -> Pixels:
        """The short side resized, then the centre cropped, as one resampling of the central square."""
        return self._decode(stream, lambda aspect: centre_crop(aspect, self.crop_fraction))

    def random_crop(self, stream: BinaryIO, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Pixels:
        """A crop of random area and aspect ratio, resized; `uniforms`: (4,) numbers in [0, 1) that decide it."""
        return self._decode(stream, lambda aspect: random_crop(aspect, rule, uniforms))

    def check(self, stream: BinaryIO) -> None:
        """Read every byte of the image, at the smallest scale that its format can decode to."""
        _load(stream, self.channels, lambda aspect: (1, 1))

    def _decode(self, stream: BinaryIO, crop_of: Callable[[float], Crop]) -> Pixels:
        def needed(aspect: float) -> tuple[int, int]:
            crop = crop_of(aspect)
            return math.ceil(self.size / crop.width), math.ceil(self.size / crop.height)

        image = _load(stream, self.channels, needed)
        return resize_crop(image, crop_of(image.width / image.height), self.size)


def centre_crop(aspect: float, fraction: float) -> Crop:
    """The central square of side `fraction` x short side; `aspect` is width / height."""
    width, height = min(1.0, 1 / aspect) * fraction, min(1.0, aspect) * fraction
    return Crop((1 - width) / 2, (1 - height) / 2, width, height)


def random_crop(aspect: float, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Crop:
    """Area uniform, aspect ratio log-uniform (Szegedy et al. 2015); a side that would stick out is cut to the image.

    `uniforms`: area, ratio, top, left.
    """
    area, ratio, top, left = (float(value) for value in uniforms)
    share = rule.area[0] + (rule.area[1] - rule.area[0]) * area
    shape = rule.ratio[0] * (rule.ratio[1] / rule.ratio[0]) ** ratio
    width, height = min(1.0, (share * shape / aspect) ** 0.5), min(1.0, (share / shape * aspect) ** 0.5)
    return Crop(left * (1 - width), top * (1 - height), width, height)


def resize_crop(image: Image.Image, crop: Crop, size: int) -> Pixels:
    """(size, size, channels) of the part `crop` of an image of mode L or RGB, antialiased bilinear."""
    left, top = crop.left * image.width, crop.top * image.height
    right = min(left + crop.width * image.width, image.width)
    bottom = min(top + crop.height * image.height, image.height)
    if image.size != (size, size) or (left, top, right, bottom) != (0, 0, size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return np.asarray(image).reshape(size, size, len(image.getbands()))


def _load(stream: BinaryIO, channels: int, needed: Callable[[float], tuple[int, int]]) -> Image.Image:
    """A completely decoded, upright image of mode L or RGB.

    `needed(aspect)` -> (width, height) that suffice: JPEGs are decoded straight to the next larger eighth.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(stream)
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            width, height = needed(image.height / image.width if turned else image.width / image.height)
            image.draft(None, (height, width) if turned else (width, height))
            image.load()
            return _convert(ImageOps.exif_transpose(image), "RGB" if channels == 3 else "L")
    except (MemoryError, CorruptImage):
        raise
    except UnidentifiedImageError:
        raise CorruptImage("not an image") from None
    except Exception as error:  # decoders fail with OSError, SyntaxError, struct.error, IndexError ...
        raise CorruptImage(" ".join(str(error).split()) or type(error).__name__) from None


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise CorruptImage(f"pixels of mode {image.mode!r} (32 bits) have no fixed range")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)
