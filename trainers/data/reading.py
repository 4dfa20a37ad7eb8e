"""The first pass over encoded images: decode them into memory, or check that all of them can be decoded."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, read_json, write_json
from search_spaces.common.progress import progress_bar
from trainers.data.decode import CorruptImage
from trainers.data.splits import Indices
from trainers.data.stores import ArrayStore, ImageStore

_BLOCK = 4096
_SCHEMA = 1


def decode_all(store: ImageStore, indices: Indices, *, threads: int) -> tuple[torch.Tensor, dict[int, str]]:
    """uint8 (num, C, S, S) of the images `indices`, and {index: reason} of those that cannot be decoded (black)."""
    if isinstance(store, ArrayStore):
        return torch.from_numpy(np.ascontiguousarray(store.images[indices].transpose(0, 3, 1, 2))), {}
    images = np.zeros((len(indices), store.channels, store.size, store.size), np.uint8)

    def read(position: int) -> None:
        images[position] = store.read(int(indices[position])).transpose(2, 0, 1)

    return torch.from_numpy(images), _for_each(store, indices, read, "decoding images", threads)


def check_all(store: ImageStore, indices: Indices, *, threads: int, identity: str) -> dict[int, str]:
    """{index: reason} of images that cannot be decoded. Cached for this list of files, sizes and times."""
    if not store.encoded:
        return {}
    cache = _cache_folder() / f"{digest([identity, _modification_times(store, indices)])}.json"
    try:
        found = read_json(cache, "list of corrupt images")
        return {int(index): str(reason) for index, reason in found["corrupt"].items()}
    except (UserError, LookupError, TypeError, ValueError, AttributeError):
        pass  # no such list yet, or not a whole one: look again
    failures = _for_each(
        store, indices, lambda position: store.check(int(indices[position])), "checking images", threads
    )
    with contextlib.suppress(UserError):  # a read-only home: checked again next time
        write_json(cache, {"schema": _SCHEMA, "corrupt": {str(index): reason for index, reason in failures.items()}})
    return failures


def corrupt_images_error(store: ImageStore, failures: dict[int, str]) -> UserError:
    """Names the first corrupt images and counts them all."""
    first, *others = sorted(failures)
    count = "corrupt image" if not others else f"corrupt image, the first of {len(failures)}"
    more = f"; also {', '.join(store.name(index) for index in others[:3])}" if others else ""
    more += " ..." if len(others) > 3 else ""
    hint = "Remove or replace them, or set data.on_corrupt: skip to train without them"
    return UserError(f"{count}: {failures[first]}{more}", file=store.name(first), key="data.on_corrupt", hint=hint)


def _for_each(
    store: ImageStore, indices: Indices, act: Callable[[int], None], what: str, threads: int
) -> dict[int, str]:
    """`act` on every position in threads (decoders release the lock), collecting `CorruptImage`s by image index."""
    failures: dict[int, str] = {}

    def guarded(position: int) -> None:
        try:
            act(position)
        except CorruptImage as error:
            failures[int(indices[position])] = str(error)

    with progress_bar(what, len(indices)) as advance, ThreadPoolExecutor(max(threads, 1)) as pool:
        for start in range(0, len(indices), _BLOCK):
            block = range(start, min(start + _BLOCK, len(indices)))
            for number, _ in enumerate(pool.map(guarded, block), start=1):
                if number % 64 == 0:
                    advance(64)
            advance(len(block) % 64)
    return failures


def _modification_times(store: ImageStore, indices: Indices) -> str:
    """A hash of when the files were last written; images inside one file are covered by the identity."""
    times: NDArray[np.int64] = np.array([_modified(store.name(int(index))) for index in indices], np.int64)
    return digest([indices.tolist(), times.tolist()])


def _modified(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns
    except OSError:
        return -1


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = Path(root) if root else Path.home() / ".cache"
    except RuntimeError:  # a user without a home, as in some containers
        folder = Path(tempfile.gettempdir())
    return folder / "ofa-nas" / "checked-images"
