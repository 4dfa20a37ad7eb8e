from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofa.rank.fresh import fresh_networks
from predictors.record_file import Records
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError


def keys_of(space: SearchSpace, rows: np.ndarray) -> list[str]:
    return [architecture.key for architecture in space.decode(rows)]


def recorded(space: SearchSpace, records: Records, rows: np.ndarray, origin: str) -> Records:
    """`records` and these networks."""
    return replace(
        records,
        population=np.concatenate([records.population, rows]),
        accuracies=np.append(records.accuracies, np.full(len(rows), 0.5)),
        losses=np.append(records.losses, np.full(len(rows), 0.5)),
        keys=(*records.keys, *keys_of(space, rows)),
        origins=(*records.origins, *([origin] * len(rows))),
    )


@pytest.mark.parametrize("sampling", ["uniform", "stratified", "nested"])
def test_they_are_distinct_new_and_spread(space: SearchSpace, records: Records, sampling) -> None:
    rows = fresh_networks(space, records, 40, seed=0, sampling=sampling)
    keys = keys_of(space, rows)
    assert len(set(keys)) == 40 and not set(keys) & set(records.keys)
    macs = space.cost("macs")
    covered = np.ptp(np.log(macs.evaluate(rows))) / np.log(macs.maximum()[0] / macs.minimum()[0])
    assert covered > (0.5 if sampling == "uniform" else 0.7)


def test_the_same_come_again_whatever_is_recorded_meanwhile(space: SearchSpace, records: Records) -> None:
    first = fresh_networks(space, records, 16, seed=0, sampling="stratified")
    more = fresh_networks(space, records, 40, seed=0, sampling="stratified")
    assert np.array_equal(more[:16], first)
    evaluated = recorded(space, records, first, "rank")
    later = recorded(space, evaluated, more[20:24], "search")
    again = fresh_networks(space, later, 36, seed=0, sampling="stratified")
    assert np.array_equal(again[:36], np.concatenate([more[:20], more[24:]]))  # what a search saw is fresh no more
    assert not np.array_equal(fresh_networks(space, records, 16, seed=1, sampling="stratified"), first)


def test_too_few(space: SearchSpace, records: Records) -> None:
    with pytest.raises(UserError, match="at least 8") as few:
        fresh_networks(space, records, 7, seed=0, sampling="stratified")
    assert few.value.key == "-n"
    settings = {"name": "mobilenet_v3_digits", "resolution": [20, 24], "kernel": [3, 5], "expand": [2], "depth": [1]}
    small = get_space(settings, num_classes=10, in_channels=1)
    nothing = Records(np.zeros((0, small.num_genes), dtype=np.int64), np.zeros(0), np.zeros(0), (), ())
    found = fresh_networks(small, nothing, 50, seed=0, sampling="stratified")
    assert len(found) == small.size - 2  # all there are, without both ends
    known = recorded(small, nothing, found[:9], "sampled")
    with pytest.raises(UserError, match=f"only {small.size - 11} of the {small.size} networks"):
        fresh_networks(small, known, 50, seed=0, sampling="stratified")
