"""Batches on their way to the device: from pinned memory, one ahead of the training step, on a stream of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

#: (images (B, C, S, S), labels (B,)) on one device
Batch = tuple[torch.Tensor, torch.Tensor]


def to_device(source: torch.Tensor | NDArray[np.generic], device: torch.device | str) -> torch.Tensor:
    """A tensor or array of the CPU on `device`; on a CPU the same memory.

    To CUDA it goes through pinned memory, from which a copy waits neither for the device nor for its own end. The
    allocator of pinned memory gives a block away only after the copies out of it have ended.
    """
    tensor = torch.from_numpy(source) if isinstance(source, np.ndarray) else source
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def prefetch(batches: Iterator[Batch], device: torch.device | str) -> Iterator[Batch]:
    """The same batches. On CUDA each is copied and augmented while the step before it computes; a CPU has no time over
    for that, there nothing is made before it is asked for.

    What a batch launches goes to a stream of its own. The stream of whoever asks waits for it on the device, not here,
    and the allocator is told that the batch is in use there, so that its memory is not given to a later batch while a
    step still reads it.
    """
    device = torch.device(device)
    if device.type != "cuda":
        yield from batches
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))  # what batches are made from may still be on its way
    upcoming = _launch(batches, side)
    while upcoming is not None:
        batch, user = upcoming, torch.cuda.current_stream(device)
        user.wait_stream(side)
        for tensor in batch:
            tensor.record_stream(user)
        upcoming = _launch(batches, side)
        yield batch


def _launch(batches: Iterator[Batch], side: torch.cuda.Stream) -> Batch | None:
    with torch.cuda.stream(side):
        return next(batches, None)
