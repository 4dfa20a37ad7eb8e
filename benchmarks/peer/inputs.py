"""Synthetic images, the same on both sides. Imports torch and nothing of either side."""

from __future__ import annotations

import torch
from torch import Tensor

#: Different images held in memory: a longer series repeats them.
POOL = 200


def training_batch(num: int, side: int) -> tuple[Tensor, Tensor]:
    """Images (num, 3, side, side) and labels out of 1000 classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num, 3, side, side, generator=generator)
    return images, torch.randint(1000, (num,), generator=generator)


def image_batches(num: int, batch: int, side: int) -> list[Tensor]:
    """`num` images in batches of at most `batch`; beyond `POOL` images the same ones come again."""
    pool = training_batch(min(max(POOL, batch), num), side)[0]
    starts = range(0, len(pool) - min(batch, len(pool)) + 1, batch)
    return [
        pool[starts[number % len(starts)] :][: min(batch, num - done)]
        for number, done in enumerate(range(0, num, batch))
    ]
