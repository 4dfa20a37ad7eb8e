"""Four honest splits: train, calibration, selection, test. Disjoint, by class, from a seed of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from search_spaces.common.errors import UserError
from trainers.data.sources.base import OFFICIAL_SELECTION, OFFICIAL_TEST, POOL
from trainers.settings.data import SplitSettings

Split: TypeAlias = Literal["train", "calibration", "selection", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Indices: TypeAlias = NDArray[np.int64]

#: share of the images drawn from, and the largest number, where the settings leave a split out
_DEFAULTS = {"calibration": (0.1, 2_000), "selection": (0.1, 10_000), "test": (0.2, None)}


@dataclass(frozen=True, eq=False)
class Partition:
    """Sorted image indices of each split."""

    train: Indices
    calibration: Indices
    selection: Indices
    test: Indices

    def of(self, split: Split) -> Indices:
        indices: Indices = getattr(self, split)
        return indices


def divide(
    labels: Indices,
    official: NDArray[np.int8],
    settings: SplitSettings,
    *,
    seed: int,
    class_names: tuple[str, ...],
    origin: str,
) -> Partition:
    """Divide images into the four splits. The test split does not depend on the amounts of the other two.

    Every class keeps at least one training image. Raises `UserError` when the splits ask for more images than there
    are, or a class has none to train on.
    """
    rng = np.random.default_rng((seed, 0))
    pool = shuffled_by_class(labels, np.flatnonzero(official == POOL), rng)
    _, first = np.unique(labels[pool], return_index=True)
    missing = np.setdiff1d(np.arange(len(class_names)), labels[pool])
    if len(missing):
        message = f"class {class_names[missing[0]]!r} has no image to train on"
        hint = f"{len(missing)} classes have none" if len(missing) > 1 else None
        raise UserError(message, file=origin, key="data.path", hint=hint)
    free = np.delete(pool, first)
    num_pool = len(pool)
    chosen: dict[str, Indices] = {}
    for split, code in (("test", OFFICIAL_TEST), ("selection", OFFICIAL_SELECTION), ("calibration", None)):
        asked: int | float | None = getattr(settings, split)
        own = np.empty(0, np.int64) if code is None else np.flatnonzero(official == code)
        if len(own):
            amount = len(own) if asked is None else _amount(split, asked, len(own), origin)
            rng_own = np.random.default_rng((seed, 1, 0 if code is None else code))
            chosen[split] = stratified(labels, shuffled_by_class(labels, own, rng_own), amount)
            continue
        amount = _amount(split, asked, num_pool, origin)
        if amount > len(free):
            taken = ", ".join(f"{name} {len(indices)}" for name, indices in chosen.items())
            message = f"asks for {amount} images, but only {len(free)} of {num_pool} are left"
            hint = f"One image a class stays for training{'; already taken: ' + taken if taken else ''}"
            raise UserError(message, file=origin, key=f"data.split.{split}", value=asked, hint=hint)
        chosen[split] = stratified(labels, free, amount)
        free = free[~np.isin(free, chosen[split])]
    train = np.concatenate((pool[first], free))
    return Partition(np.sort(train), *(np.sort(chosen[split]) for split in ("calibration", "selection", "test")))


def balanced_subset(labels: Indices, members: Indices, limit: int, *, seed: int, origin: str) -> Indices:
    """`limit` of `members`, the same number of each class as far as the classes reach."""
    if limit > len(members):
        message = f"asks for more images than there are to divide: {len(members)}"
        raise UserError(message, file=origin, key="data.limit", value=limit)
    ordered = shuffled_by_class(labels, members, np.random.default_rng((seed, 2)))
    rank = _rank_in_class(labels[ordered])
    # the limit is reached by taking the first image of every class, then the second of every class, ...
    return np.sort(ordered[np.lexsort((labels[ordered], rank))[:limit]])


def stratified(labels: Indices, ordered: Indices, amount: int) -> Indices:
    """`amount` of `ordered` (grouped by class): of each class its share, by largest remainders, first come first."""
    classes, counts = np.unique(labels[ordered], return_counts=True)
    exact = amount * counts / max(len(ordered), 1)
    quota = np.floor(exact).astype(np.int64)
    remainder = np.argsort(-(exact - quota), kind="stable")[: amount - int(quota.sum())]
    quota[remainder] += 1
    position = np.searchsorted(classes, labels[ordered])
    return ordered[_rank_in_class(labels[ordered]) < quota[position]]


def shuffled_by_class(labels: Indices, members: Indices, rng: np.random.Generator) -> Indices:
    """`members` grouped by class, in random order within each class."""
    mixed = rng.permutation(members)
    return mixed[np.argsort(labels[mixed], kind="stable")]


def _rank_in_class(grouped_labels: Indices) -> Indices:
    """0, 1, 2 ... within each run of equal labels."""
    starts = np.flatnonzero(np.diff(grouped_labels, prepend=-1))
    lengths = np.diff(np.append(starts, len(grouped_labels)))
    return np.arange(len(grouped_labels)) - np.repeat(starts, lengths)


def _amount(split: str, asked: int | float | None, available: int, origin: str) -> int:
    if asked is None:
        share, most = _DEFAULTS[split]
        return max(1, min(round(share * available), most or available))
    if isinstance(asked, int):
        if asked > available:
            message = f"is larger than the {available} images it is drawn from"
            raise UserError(message, file=origin, key=f"data.split.{split}", value=asked)
        return asked
    amount = round(asked * available)
    if amount < 1:
        raise UserError(f"is less than one of {available} images", file=origin, key=f"data.split.{split}", value=asked)
    return amount
