"""The `data` section of a config: which images, how they are divided, kept, augmented and normalised."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings

#: Smallest and largest side of stored images in pixels.
MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 8, 2048


def _amount(value: object) -> object:
    """A whole number of images, or a fraction between 0 and 1."""
    if value is None:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is a number of images (500) or a fraction of them (0.1)")
    if isinstance(value, int) and value < 1:
        raise ValueError("a split holds at least one image")
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError("a fraction lies strictly between 0 and 1; a number of images is written without a point")
    return value


Amount = Annotated[int | float | None, BeforeValidator(_amount)]
Share = Annotated[float, Field(ge=0, le=1)]


def _range(low: float, high: float, limits: tuple[float, float], what: str) -> None:
    if not limits[0] < low <= high <= limits[1]:
        raise ValueError(f"{what} is a pair low <= high within ({limits[0]:g}, {limits[1]:g}]")


class SplitSettings(Settings):
    """How many images the splits hold: a count, or a fraction of the images they are drawn from.

    What a data set divides itself stays so: an official test set is the test split, an official validation set beside
    an official test set is the selection split (an amount then takes a stratified part of it). The rest is divided by
    class; what no split asks for is the train split. Left out: test a fifth, selection a tenth but at most 10,000,
    calibration a tenth but at most 2,000 images.
    """

    calibration: Amount = None
    selection: Amount = None
    test: Amount = None


class ColorJitterSettings(Settings):
    """Largest relative change of brightness, contrast and saturation, and of hue as a fraction of the colour circle."""

    brightness: Share = 0.0
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class RandomResizedCropSettings(Settings):
    """A random part of the image (area share, aspect ratio), resized to `image_size`: Inception's training crop."""

    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 1.333)

    @model_validator(mode="after")
    def _ordered(self) -> RandomResizedCropSettings:
        _range(*self.area, (0, 1), "area")
        _range(*self.ratio, (0, 10), "ratio")
        return self


class EraseSettings(Settings):
    """Random erasing: with `probability`, a rectangle of this area share is set to the mean of the training pixels."""

    probability: Share
    area: tuple[float, float] = (0.02, 0.2)
    ratio: tuple[float, float] = (0.3, 3.3)

    @model_validator(mode="after")
    def _ordered(self) -> EraseSettings:
        _range(*self.area, (0, 1), "area")
        _range(*self.ratio, (0, 10), "ratio")
        return self


class RandomAugmentSettings(Settings):
    """RandAugment (https://arxiv.org/abs/1909.13719): `num_ops` operations, each drawn anew, at one magnitude."""

    num_ops: Annotated[int, Field(ge=1, le=16)] = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9


class AugmentSettings(Settings):
    """Random changes of training images, each image its own; all off by default. Applied in the order of the fields.

    At most one of the policies `random_augment`, `trivial_augment` (TrivialAugment Wide,
    https://arxiv.org/abs/2103.10158) and `auto_augment` (as learned on that data set, https://arxiv.org/abs/1805.09501).
    They act on the image as it was read: after a random resized crop where images are streamed, before it otherwise.
    `crop_padding` in pixels of the stored image, `rotate` and `shear` in degrees, `translate` as a share of the side,
    `scale` the range of the zoom factor. `padding` says what lies outside the image.
    """

    random_resized_crop: RandomResizedCropSettings | None = None
    random_augment: RandomAugmentSettings | None = None
    trivial_augment: bool = False
    auto_augment: Literal["imagenet", "cifar10", "svhn"] | None = None
    crop_padding: Annotated[int, Field(ge=0, le=256)] = 0
    flip: bool = False
    vertical_flip: bool = False
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear: Annotated[float, Field(ge=0, le=45)] = 0.0
    padding: Literal["zeros", "edge", "reflect"] = "zeros"
    color_jitter: ColorJitterSettings = ColorJitterSettings()
    erase: EraseSettings | None = None

    @field_validator("scale")
    @classmethod
    def _scale_is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        _range(*value, (0, 10), "scale")
        return value

    @model_validator(mode="after")
    def _one_policy(self) -> AugmentSettings:
        policies = [name for name in ("random_augment", "trivial_augment", "auto_augment") if getattr(self, name)]
        if len(policies) > 1:
            raise UserError(f"{' and '.join(policies)} exclude each other", hint="Keep one of them")
        return self


class DataSettings(Settings):
    """A data set by registered name, and what is done with its images."""

    name: str
    path: Path | None = None
    """Folder or file of the data set; a relative path starts at the folder the command runs in."""
    image_size: Annotated[int, Field(ge=MIN_IMAGE_SIZE, le=MAX_IMAGE_SIZE)] | None = None
    """Side in pixels that encoded images are decoded to: short side resized, then a centre crop."""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Side of that centre crop as a share of the resized short side (0.875 is usual for ImageNet)."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; left out: as the data set has it, colour for encoded images."""
    num_classes: Annotated[int, Field(ge=2)] | None = None
    """`synthetic` only."""
    num_images: Annotated[int, Field(ge=2)] | None = None
    """`synthetic` only."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Use a class-balanced part of this many images (an official test or validation set is not counted)."""
    split: SplitSettings = SplitSettings()
    split_seed: Annotated[int, Field(ge=0)] = 0
    """Its own seed, so that another training seed never moves an image from test to train."""
    on_corrupt: Literal["error", "skip"] = "error"
    memory: Literal["auto", "memory", "stream"] = "auto"
    """Decoded images kept in memory, or decoded again every epoch by `workers`; auto: by `memory_limit_mib`."""
    memory_limit_mib: Annotated[int, Field(ge=1)] = 2048
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Decoding processes (streaming) or threads (filling the memory), of each training process."""
    augment: AugmentSettings = AugmentSettings()
    mean: tuple[float, ...] | None = None
    """Per channel, of pixels scaled to [0, 1]; `mean` and `std` left out: measured on training images."""
    std: tuple[float, ...] | None = None

    @field_validator("name")
    @classmethod
    def _registered(cls, value: str) -> str:
        from trainers.data.sources import SOURCES

        SOURCES.get(value)
        return value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and not all(item > 0 for item in value):
            raise ValueError("every standard deviation is above 0")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DataSettings:
        if (self.mean is None) != (self.std is None):
            raise UserError("mean and std are given together or not at all")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise UserError(f"mean has {len(self.mean)} values but std has {len(self.std)}")
        if self.name != "synthetic" and (self.num_classes is not None or self.num_images is not None):
            raise UserError("num_classes and num_images belong to synthetic images; other data sets count their own")
        return self
