"""Four splits: disjoint, complete, stratified, stable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.common.errors import UserError
from trainers.data import keep_loaded, load_data
from trainers.data.sources.base import OFFICIAL_SELECTION, OFFICIAL_TEST, POOL
from trainers.data.splits import SPLITS, Partition, balanced_subset, divide, stratified
from trainers.settings.data import DataSettings, SplitSettings


def split(labels: Any, official: Any = None, seed: int = 0, **amounts: Any) -> Partition:
    labels = np.asarray(labels)
    official = np.full(len(labels), POOL, np.int8) if official is None else np.asarray(official, np.int8)
    names = tuple(f"class{number}" for number in range(int(labels.max()) + 1))
    return divide(labels, official, SplitSettings(**amounts), seed=seed, class_names=names, origin="here")


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=8),
    shares=st.tuples(*[st.floats(0.02, 0.3)] * 3),
    seed=st.integers(0, 2**31),
)
def test_disjoint_complete_stratified(counts: list[int], shares: tuple[float, ...], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    amounts = [max(1, round(share * len(labels))) for share in shares]
    if sum(amounts) > len(labels) - len(counts):
        return
    parts = split(labels, seed=seed, **dict(zip(("calibration", "selection", "test"), amounts, strict=True)))
    together = np.concatenate([parts.of(name) for name in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(labels)))
    assert [len(parts.of(name)) for name in SPLITS[1:]] == amounts
    assert len(np.unique(labels[parts.train])) == len(counts)
    exact = amounts[2] * (np.array(counts) - 1) / (len(labels) - len(counts))
    assert (np.abs(np.bincount(labels[parts.test], minlength=len(counts)) - exact) < 1).all()


def test_defaults_are_a_fifth_and_two_tenths_with_caps() -> None:
    parts = split(np.arange(1000) % 10)
    assert {name: len(parts.of(name)) for name in SPLITS} == {
        "train": 600, "calibration": 100, "selection": 100, "test": 200,
    }  # fmt: skip
    big = split(np.arange(200_000) % 10)
    assert (len(big.calibration), len(big.selection), len(big.test)) == (2_000, 10_000, 40_000)
    assert (np.bincount(big.calibration % 10) == 200).all()


def test_another_amount_of_one_split_leaves_the_test_split_alone() -> None:
    labels = np.arange(300) % 3
    one, other = split(labels, calibration=10), split(labels, calibration=60, selection=0.25)
    assert np.array_equal(one.test, other.test)
    assert not np.array_equal(one.train, other.train)


def test_the_seed_decides() -> None:
    labels = np.arange(300) % 3
    assert np.array_equal(split(labels, seed=4).test, split(labels, seed=4).test)
    assert not np.array_equal(split(labels, seed=4).test, split(labels, seed=5).test)


def test_official_splits_are_kept() -> None:
    labels = np.arange(120) % 4
    official = np.repeat([POOL, OFFICIAL_SELECTION, OFFICIAL_TEST], 40)
    parts = split(labels, official)
    assert np.array_equal(parts.selection, np.arange(40, 80))
    assert np.array_equal(parts.test, np.arange(80, 120))
    assert len(parts.calibration) == 4 and parts.calibration.max() < 40
    part = split(labels, official, test=20)
    assert len(part.test) == 20 and part.test.min() >= 80 and (np.bincount(labels[part.test]) == 5).all()
    assert np.array_equal(part.train, parts.train)


@pytest.mark.parametrize(
    ("amounts", "key", "value"),
    [
        ({"test": 31}, "data.split.test", "31"),
        ({"test": 20, "selection": 8}, "data.split.selection", "8"),
        ({"selection": 0.9, "test": 0.3}, "data.split.selection", "0.9"),
        ({"calibration": 0.01}, "data.split.calibration", "0.01"),
    ],
)
def test_a_split_larger_than_the_data(amounts: dict[str, Any], key: str, value: str) -> None:
    with pytest.raises(UserError) as error:
        split(np.arange(30) % 3, **amounts)
    assert error.value.key == key and value in str(error.value) and "\n" not in str(error.value)


def test_a_class_without_training_images() -> None:
    with pytest.raises(UserError, match="'class1' has no image to train on"):
        split([0, 0, 0, 1, 0, 2, 2, 2], [0, 0, 0, OFFICIAL_TEST, 0, 0, 0, 0])


def test_a_limit_is_class_balanced() -> None:
    labels = np.repeat([0, 1, 2], [100, 100, 5])
    members = np.arange(205)
    chosen = balanced_subset(labels, members, 65, seed=0, origin="here")
    assert np.array_equal(np.bincount(labels[chosen]), [30, 30, 5])
    assert len(np.unique(chosen)) == 65
    with pytest.raises(UserError, match=r"data\.limit: asks for more images than there are to divide: 205 \(got 206\)"):
        balanced_subset(labels, members, 206, seed=0, origin="here")


def test_largest_remainders() -> None:
    labels = np.repeat([0, 1, 2], [5, 3, 2])
    chosen = stratified(labels, np.arange(10), 3)  # exact shares 1.5, 0.9, 0.6
    assert np.array_equal(np.bincount(labels[chosen]), [1, 1, 1])


def test_images_are_read_once_where_they_are_kept() -> None:
    wanted = DataSettings(name="synthetic", num_classes=2, num_images=60, image_size=8)
    assert load_data(wanted, seed=0) is not load_data(wanted, seed=0)
    with keep_loaded():
        kept = load_data(wanted, seed=0)
        assert load_data(wanted, seed=0) is kept
        assert load_data(wanted, seed=1) is not kept
    assert load_data(wanted, seed=0) is not kept
