from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa.search.front import pareto_front, predicted_front
from search_spaces import SearchSpace
from search_spaces.costs import CostTable

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25)


def by_hand(values: list[tuple[float, ...]]) -> set[tuple[float, ...]]:
    """Points (costs..., -accuracy) that no other point beats."""
    return {p for p in values if not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in values)}


@given(points)
def test_fronts_are_those_of_the_definition(triples: list[tuple[int, int, int]]) -> None:
    array = np.array(triples, dtype=np.float64)
    one = pareto_front(array[:, 0], array[:, 2])
    assert {(array[i, 0], -array[i, 2]) for i in one} == by_hand([(c, -a) for c, _, a in triples])
    assert len(one) == len({(c, -a) for c, a in array[one][:, [0, 2]]})
    two = pareto_front(array[:, :2], array[:, 2])
    assert {(array[i, 0], array[i, 1], -array[i, 2]) for i in two} == by_hand([(c, d, -a) for c, d, a in triples])
    for front in (one, two):
        assert (np.diff(array[front, 0]) >= 0).all()


@pytest.mark.parametrize("num_samples", [10_000, 300])
def test_the_predicted_front_is_that_of_the_space(
    space: SearchSpace, costs: dict[str, CostTable], landscape: Callable, num_samples: int
) -> None:
    """Listed, it is exact; evolved from 300 of 5,292 networks, almost."""
    predict, cost = landscape(2), costs["latency@a"]
    everything = space.enumerate(10_000)
    exact = pareto_front(cost.evaluate(everything), predict(everything).mean)
    rows = predicted_front(space, predict, cost, num_samples=num_samples, generations=25, population=64)
    assert np.array_equal(
        rows, predicted_front(space, predict, cost, num_samples=num_samples, generations=25, population=64)
    )
    known = {tuple(row) for row in everything[exact].tolist()}
    share = np.mean([tuple(row) in known for row in rows.tolist()])
    assert share == 1.0 if num_samples > space.size else share > 0.9
    assert len(rows) > 0.9 * len(exact)
