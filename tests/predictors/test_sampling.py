from __future__ import annotations

import numpy as np
import pytest

from predictors.sampling import record_groups, record_list
from search_spaces import SearchSpace, get_space, list_spaces
from trainers.evaluation.together import cost_of_sharing


@pytest.mark.parametrize("sampling", ["uniform", "stratified", "nested"])
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


@pytest.mark.parametrize("sampling", ["uniform", "stratified", "nested"])
def test_a_small_space_is_listed_whole(space: SearchSpace, sampling) -> None:
    part = space.restrict(resolution=[28], kernel=[3, 5], depth=[2])
    rows = record_list(part, 10**6, seed=0, sampling=sampling)
    assert len(rows) == part.size == len(np.unique(rows, axis=0)) == 256


def test_stratified_records_spread_over_the_sizes() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"})
    macs = space.cost("macs")
    low, high = np.log(macs.minimum()[0]), np.log(macs.maximum()[0])
    shares = {}
    for sampling in ("uniform", "stratified", "nested"):
        rows = record_list(space, 200, seed=0, sampling=sampling)
        places = (np.log(macs.evaluate(rows)) - low) / (high - low)
        shares[sampling] = np.histogram(places, bins=5, range=(0, 1))[0] / 200
    assert shares["stratified"].min() > 0.12
    assert shares["nested"].min() > 0.1
    assert shares["uniform"].min() < 0.02


@pytest.mark.parametrize("name", list_spaces())
def test_nested_records_cost_less_than_half_together(name: str) -> None:
    space = get_space({"name": name})
    together = alone = 0.0
    for rows in record_groups(space, 200, seed=0, sampling="nested"):
        networks = [space.network(architecture) for architecture in space.decode(rows)]
        macs = sum(float(operator.macs()) for network in networks for _, operator in network)
        together, alone = together + cost_of_sharing(networks) * macs, alone + macs
    assert together / alone <= 0.46


def test_groups_are_halved_and_halved_again() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"})
    groups = record_groups(space, 402, seed=3, sampling="nested")
    assert [len(group) for group in groups[:3]] == [1, 1, 8]

    def common(*numbers: int) -> list[float]:
        """In every whole group, the share of the first member's MACs in the layers that these members share."""
        shares = []
        for group in groups:
            if len(group) == 8:
                networks = [space.network(architecture) for architecture in space.decode(group[list(numbers)])]
                macs = [float(operator.macs()) for _, operator in networks[0]]
                same = [all(operators[0] == other for other in operators) for operators in zip(*networks, strict=False)]
                length = same.index(False) if False in same else len(same)
                shares.append(sum(macs[:length]) / sum(macs))
        return shares

    assert np.mean(common(*range(8))) > 0.35
    assert min(np.mean(common(*half)) for half in (range(4), range(4, 8))) > 0.55
    assert min(np.mean(common(first, first + 1)) for first in (0, 2, 4, 6)) > 0.7
    assert max(common(0, 4)) < 0.95  # of which not all is shared: the groups are no copies


@pytest.mark.parametrize("sampling", ["uniform", "stratified", "nested"])
def test_groups_are_the_list_and_more_only_completes_the_last(space: SearchSpace, sampling) -> None:
    groups = record_groups(space, 150, seed=1, sampling=sampling)
    fewer = record_groups(space, 77, seed=1, sampling=sampling)
    assert np.array_equal(np.concatenate(groups), record_list(space, 150, seed=1, sampling=sampling))
    assert all(np.array_equal(a, b) for a, b in zip(fewer[:-1], groups, strict=False))
    assert np.array_equal(fewer[-1], groups[len(fewer) - 1][: len(fewer[-1])])
    assert max(map(len, groups)) == (8 if sampling == "nested" else 1)
