from __future__ import annotations

import numpy as np
import pytest

from predictors.sampling import record_list
from search_spaces import SearchSpace, get_space


@pytest.mark.parametrize("sampling", ["uniform", "stratified"])
@pytest.mark.parametrize("large", [False, True])
def test_asking_for_more_only_appends(space: SearchSpace, sampling, large: bool) -> None:
    if large:
        space = get_space({"name": "ofa_mobilenet_v3"})
    rows = record_list(space, 300, seed=4, sampling=sampling)
    assert len(np.unique(rows, axis=0)) == 300
    assert np.array_equal(rows, space.canonical(rows))
    assert np.array_equal(rows[:70], record_list(space, 70, seed=4, sampling=sampling))
    assert np.array_equal(rows[0], space.smallest())
    assert np.array_equal(rows[1], space.largest())
    assert not np.array_equal(rows[2:], record_list(space, 300, seed=5, sampling=sampling)[2:])


@pytest.mark.parametrize("sampling", ["uniform", "stratified"])
def test_a_small_space_is_listed_whole(space: SearchSpace, sampling) -> None:
    part = space.restrict(resolution=[28], kernel=[3, 5], depth=[2])
    rows = record_list(part, 10**6, seed=0, sampling=sampling)
    assert len(rows) == part.size == len(np.unique(rows, axis=0)) == 256


def test_stratified_records_spread_over_the_sizes() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"})
    macs = space.cost("macs")
    low, high = np.log(macs.minimum()[0]), np.log(macs.maximum()[0])
    shares = {}
    for sampling in ("uniform", "stratified"):
        rows = record_list(space, 200, seed=0, sampling=sampling)
        places = (np.log(macs.evaluate(rows)) - low) / (high - low)
        shares[sampling] = np.histogram(places, bins=5, range=(0, 1))[0] / 200
    assert shares["stratified"].min() > 0.12
    assert shares["uniform"].min() < 0.02
