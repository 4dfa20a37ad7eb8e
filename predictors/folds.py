"""Folds of records: those of one group are in one fold, and every fold has about as many groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def fold_numbers(groups: Indices, num_folds: int, *, seed: int) -> Indices:
    """The fold of every record, in 0..num_folds - 1; of a single group each record is taken for its own."""
    _, group = np.unique(groups, return_inverse=True)
    if group.max(initial=0) == 0:
        group = np.arange(len(groups))
    order = np.random.default_rng([seed, len(groups)]).permutation(group.max() + 1)
    return np.asarray(order[group] % num_folds, dtype=np.int64)
