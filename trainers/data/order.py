"""Which images a training step sees, and the random numbers that augment them: functions of (seed, step) alone.

Nothing is remembered between steps, so a run resumes anywhere, and any number of processes can share one global batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search_spaces.common.errors import UserError

#: Random numbers an image gets for its augmentation; more than are used, so that a new one moves none of the old.
NUM_UNIFORMS = 32
_ORDER, _AUGMENT = 10, 11


def epoch_order(num: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of `num` training images in an epoch."""
    return np.random.default_rng((seed, _ORDER, epoch)).permutation(num)


def steps_per_epoch(num: int, batch_size: int) -> int:
    """Whole batches in an epoch; the images left over come in another epoch's order."""
    if batch_size < 1 or batch_size > num:
        message = f"a batch holds at least 1 and at most all {num} training images"
        raise UserError(message, key="train.batch_size", value=batch_size)
    return num // batch_size


def step_uniforms(*, seed: int, step: int, batch_size: int, rows: slice) -> NDArray[np.float32]:
    """(rows, NUM_UNIFORMS) numbers in [0, 1). Row r depends on (seed, step, r) only, not on the batch size."""
    start, stop, stride = rows.indices(batch_size)
    uniforms = np.random.default_rng((seed, _AUGMENT, step)).random((stop, NUM_UNIFORMS), np.float32)
    return uniforms[start::stride]


class EpochOrders:
    """The last epoch's order, kept because consecutive steps ask for the same one."""

    def __init__(self, num: int) -> None:
        self.num = num
        self._key: tuple[int, int] | None = None
        self._order = np.empty(0, np.int64)

    def step_indices(self, *, seed: int, step: int, batch_size: int, rows: slice) -> NDArray[np.int64]:
        """Positions in the train split of rows `rows` of the global batch of `step`."""
        epoch, position = divmod(step, steps_per_epoch(self.num, batch_size))
        if self._key != (seed, epoch):
            self._order, self._key = epoch_order(self.num, seed=seed, epoch=epoch), (seed, epoch)
        return self._order[position * batch_size : (position + 1) * batch_size][rows]
