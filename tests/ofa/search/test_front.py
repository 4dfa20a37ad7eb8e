from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa.search.algorithms.base import Scores
from ofa.search.front import FrontArchive, front_scores, pareto_front, predicted_front, random_front
from ofa.search.offline.front_facts import whole_front
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
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


def test_an_archive_holds_the_front_of_all_it_was_told(space: SearchSpace, costs: dict[str, CostTable]) -> None:
    rng = np.random.default_rng(0)
    rows = space.sample(3000, rng)
    objectives = np.column_stack([rng.random(3000), -costs["macs"].evaluate(rows), -costs["params"].evaluate(rows)])
    violation = np.maximum(rng.random(3000) - 0.5, 0)
    archive = FrontArchive(space.num_genes)
    for part in np.array_split(np.arange(3000), 7):
        archive.add(rows[part], Scores(objectives[part], violation[part]))
    kept = violation == 0
    wanted = pareto_front(-objectives[kept][:, 1:], objectives[kept][:, 0])
    assert {tuple(p) for p in archive.scores.objectives} == {tuple(p) for p in objectives[kept][wanted]}
    assert np.array_equal(archive.scores.objectives[:, 1], -costs["macs"].evaluate(archive.population))


def test_a_front_of_random_networks_is_taken_chunk_by_chunk(
    space: SearchSpace, costs: dict[str, CostTable], landscape: Callable
) -> None:
    """And is a front of networks that were really drawn; more of them are never worse."""
    predict, tables = landscape(2), [costs["latency@a"], costs["params"]]
    largest = 0

    def counted(rows: np.ndarray):
        nonlocal largest
        largest = max(largest, len(rows))
        return predict(rows)

    first = random_front(space, counted, tables, num=2000, seed=1, chunk=500)
    assert largest == 500
    more = random_front(space, predict, tables, num=4000, seed=1, chunk=500)
    scored = front_scores(predict, tables)(first.population)
    assert np.array_equal(scored.objectives, first.scores.objectives)
    for point in first.scores.objectives:
        assert (more.scores.objectives >= point).all(axis=1).any()
    every = space.enumerate(10_000)
    whole = random_front(space, predict, tables, num=60_000, seed=0)  # enough to draw each of the 5,292
    wanted = pareto_front(np.column_stack([table.evaluate(every) for table in tables]), predict(every).mean)
    assert {tuple(row) for row in whole.population.tolist()} == {tuple(row) for row in every[wanted].tolist()}


def test_the_front_as_json(space: SearchSpace, costs: dict[str, CostTable], landscape: Callable) -> None:
    predict, limits = landscape(2), {"macs": float(np.median(costs["macs"].evaluate(space.enumerate(10_000))))}
    for num_random in (0, 20_000):
        facts = whole_front(space, predict, costs, ["latency@a", "params"], limits=limits, num_random=num_random)
        points = np.array(
            [
                [-point["predicted_accuracy"]["mean"], *(point["predicted_costs"][cost] for cost in facts["costs"])]
                for point in json.loads(json.dumps(facts))["points"]
            ]
        )
        assert len(points) > 10
        assert (np.diff(points[:, 1]) >= 0).all()
        assert len(pareto_front(points[:, 1:], -points[:, 0])) == len(points)
        assert all(point["predicted_costs"]["macs"] <= limits["macs"] for point in facts["points"])
    with pytest.raises(UserError, match=r"unknown cost 'latency@b'\. Did you mean 'latency@a'"):
        whole_front(space, predict, costs, ["latency@b"])
    with pytest.raises(UserError, match="no network that was met keeps the limits"):
        whole_front(space, predict, costs, ["params"], limits={"macs": 1.0})
