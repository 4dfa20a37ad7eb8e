"""Where the pixels are before training: an array, files of a folder, parts of one file, or a formula.

A store gives image `index` as uint8 (size, size, channels). It holds no open files, so worker processes can copy it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainers.data.decode import CorruptImage, Decoder, Pixels, random_crop, resize_crop
from trainers.settings.data import RandomResizedCropSettings


class ImageStore(Protocol):
    """Images that can be read one by one, in any order, from any process."""

    @property
    def size(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def encoded(self) -> bool:
        """Whether reading decodes, so that it is slow and can fail with `CorruptImage`."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a person calls this image: its path, or its number in a file."""
        ...

    def read(self, index: int) -> Pixels: ...

    def read_crop(self, index: int, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Pixels: ...

    def check(self, index: int) -> None: ...


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Decoded images: (num, size, size, channels) uint8."""

    images: Pixels
    encoded = False

    @property
    def size(self) -> int:
        return int(self.images.shape[1])

    @property
    def channels(self) -> int:
        return int(self.images.shape[3])

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return f"image {index}"

    def read(self, index: int) -> Pixels:
        return np.asarray(self.images[index])

    def read_crop(self, index: int, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Pixels:
        image = self.images[index]
        picture = Image.fromarray(image.squeeze(2) if self.channels == 1 else image)
        return resize_crop(picture, random_crop(1.0, rule, uniforms), self.size)

    def check(self, index: int) -> None:
        return None


class ByteSource(Protocol):
    """Encoded images by index."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str: ...

    def open(self, index: int) -> BinaryIO: ...


class FolderFiles:
    """Files below a folder. Names are one byte array: a list of a million strings would be copied by every worker."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.names = np.array([os.fsencode(name) for name in names])

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        return str(self.folder / os.fsdecode(self.names[index].item()))

    def open(self, index: int) -> BinaryIO:
        try:
            return open(self.name(index), "rb")
        except OSError as error:
            raise CorruptImage(error.strerror or str(error)) from None


@dataclass(frozen=True, eq=False)
class BlobParts:
    """Encoded images one after another in one byte array; image i is blob[offsets[i]:offsets[i + 1]]."""

    label: str
    blob: Pixels
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def name(self, index: int) -> str:
        return f"{self.label}[{index}]"

    def open(self, index: int) -> BinaryIO:
        return io.BytesIO(self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes())


@dataclass(frozen=True)
class ChainedBytes:
    """Several byte sources, one behind the other."""

    parts: tuple[ByteSource, ...]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def name(self, index: int) -> str:
        part, index = self._find(index)
        return part.name(index)

    def open(self, index: int) -> BinaryIO:
        part, index = self._find(index)
        return part.open(index)

    def _find(self, index: int) -> tuple[ByteSource, int]:
        for part in self.parts:
            if index < len(part):
                return part, index
            index -= len(part)
        raise IndexError(index)


@dataclass(frozen=True)
class EncodedStore:
    """Encoded images, decoded whenever they are read."""

    source: ByteSource
    decoder: Decoder
    encoded = True

    @property
    def size(self) -> int:
        return self.decoder.size

    @property
    def channels(self) -> int:
        return self.decoder.channels

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> Pixels:
        with self.source.open(index) as stream:
            return self.decoder.centre(stream)

    def read_crop(self, index: int, rule: RandomResizedCropSettings, uniforms: NDArray[np.float32]) -> Pixels:
        with self.source.open(index) as stream:
            return self.decoder.random_crop(stream, rule, uniforms)

    def check(self, index: int) -> None:
        with self.source.open(index) as stream:
            self.decoder.check(stream)
