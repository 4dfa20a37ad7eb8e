"""`load_data`: from the `data` section of a config to images in four splits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from trainers.data.color import jitters
from trainers.data.image_data import ImageData
from trainers.data.order import EpochOrders
from trainers.data.pixels import MemoryPixels, PixelReader, StreamedPixels
from trainers.data.policies import find_policy
from trainers.data.reading import check_all, corrupt_images_error, decode_all
from trainers.data.sources import SOURCES
from trainers.data.sources.base import POOL, SourceData
from trainers.data.splits import SPLITS, Indices, Partition, balanced_subset, divide
from trainers.data.statistics import pixel_statistics
from trainers.data.stores import ArrayStore, EncodedStore, ImageStore
from trainers.settings.data import DataSettings

_kept: ContextVar[dict[tuple[str, int, Path | None], ImageData] | None] = ContextVar("kept", default=None)


@contextmanager
def keep_loaded() -> Iterator[None]:
    """Inside this block the same settings are loaded once: for several stages in one process."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def load_data(settings: DataSettings, *, seed: int, base: Path | None = None) -> ImageData:
    """The images that `settings` describe, in their splits; see `_load`. Inside `keep_loaded` read only once.

    `seed` is the training seed; the splits depend on `settings.split_seed` instead. A relative `settings.path` starts
    at `base` (None: the current folder). Raises `UserError` for every fault of the data, naming file, key and value.
    """
    kept = _kept.get()
    if kept is None:
        return _load(settings, seed=seed, base=base)
    key = (settings.model_dump_json(), seed, base)
    if key not in kept:
        kept[key] = _load(settings, seed=seed, base=base)
    return kept[key]


def _load(settings: DataSettings, *, seed: int, base: Path | None) -> ImageData:
    """Read the data set, divide it, decode it into memory or check it, and measure its mean and deviation."""
    path = None if settings.path is None else (base or Path()) / settings.path.expanduser()
    source = SOURCES.get(settings.name, key="data.name")(settings, path)
    _check_source(source, settings)
    members = _members(source, settings)
    stream = _streams(source.store, len(members), settings)
    threads = settings.workers
    if stream:
        failures = check_all(source.store, members, threads=threads, identity=source.identity)
    else:
        images, failures = decode_all(source.store, members, threads=threads)
    if failures and settings.on_corrupt == "error":
        raise corrupt_images_error(source.store, failures)
    partition = _divide(source, settings, members, failures)
    policy = find_policy(settings.augment)
    pixels: PixelReader
    if stream:
        pixels = StreamedPixels(source.store, settings.workers, settings.augment.random_resized_crop, policy)
    else:
        positions = np.full(len(source.labels), -1, np.int64)
        positions[members] = np.arange(len(members))
        pixels = MemoryPixels(images, positions, policy)
    mean, std = _normalisation(settings, source.store, pixels, partition)
    return ImageData(
        name=settings.name,
        class_names=source.class_names,
        in_channels=source.store.channels,
        image_size=source.store.size,
        mean=mean,
        std=std,
        split_sha256={split: digest([source.identity, split, partition.of(split).tolist()]) for split in SPLITS},
        skipped=tuple(source.store.name(index) for index in sorted(failures)),
        streamed=stream,
        seed=seed,
        augmentation=settings.augment,
        _labels=source.labels,
        _partition=partition,
        _pixels=pixels,
        _orders=EpochOrders(len(partition.train)),
        crop_fraction=source.store.decoder.crop_fraction if isinstance(source.store, EncodedStore) else None,
        licence=source.licence,
    )


def _check_source(source: SourceData, settings: DataSettings) -> None:
    """What no data set may be, and augmentation that these images cannot have."""
    if len(source.class_names) < 2:
        message = f"holds {len(source.class_names)} class; a classifier needs at least 2"
        raise UserError(message, file=source.origin, key="data.path", hint="One folder or label for each class")
    pool = source.labels[source.official == POOL]
    if len(pool) == 0:
        raise UserError("holds no images to train on", file=source.origin, key="data.path")
    missing = np.setdiff1d(np.arange(len(source.class_names)), pool)
    if len(missing):
        names = ", ".join(repr(source.class_names[label]) for label in missing[:5])
        message = f"class without an image to train on: {names}{' ...' if len(missing) > 5 else ''}"
        raise UserError(message, file=source.origin, key="data.path")
    side, channels = source.store.size, source.store.channels
    if settings.augment.crop_padding >= side:
        message = f"is not below the side of the images, {side}"
        raise UserError(message, key="data.augment.crop_padding", value=settings.augment.crop_padding)
    jitter = settings.augment.color_jitter
    if channels == 1 and jitters(jitter) and (jitter.saturation or jitter.hue):
        raise UserError(
            "grey images have no saturation or hue", key="data.augment.color_jitter", value=jitter.model_dump()
        )
    if settings.mean is not None and len(settings.mean) != channels:
        message = f"has {len(settings.mean)} values, but the images have {channels} channels"
        raise UserError(message, key="data.mean", value=list(settings.mean))


def _members(source: SourceData, settings: DataSettings) -> Indices:
    """The images that are used at all."""
    pool = np.flatnonzero(source.official == POOL)
    if settings.limit is None:
        return np.arange(len(source.labels))
    limited = balanced_subset(source.labels, pool, settings.limit, seed=settings.split_seed, origin=source.origin)
    return np.sort(np.concatenate((limited, np.flatnonzero(source.official != POOL))))


def _divide(source: SourceData, settings: DataSettings, members: Indices, failures: dict[int, str]) -> Partition:
    """The splits, as indices into the whole source."""
    whole = np.setdiff1d(members, np.array(sorted(failures), np.int64))
    local = divide(
        source.labels[whole],
        source.official[whole],
        settings.split,
        seed=settings.split_seed,
        class_names=source.class_names,
        origin=source.origin,
    )
    return Partition(**{split: whole[local.of(split)] for split in SPLITS})


def _streams(store: ImageStore, num_images: int, settings: DataSettings) -> bool:
    if settings.memory != "auto":
        return settings.memory == "stream"
    if isinstance(store, ArrayStore):
        return False  # in memory already
    return num_images * store.channels * store.size**2 > settings.memory_limit_mib * 2**20


def _normalisation(
    settings: DataSettings, store: ImageStore, pixels: PixelReader, partition: Partition
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if settings.mean is not None and settings.std is not None:
        return settings.mean, settings.std
    return pixel_statistics(pixels, partition.train, store.channels)
