from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa.search.algorithms.dominance import constrained_ranks, crowding, front_ranks, non_dominated
from ofa.search.algorithms.hypervolume import hypervolume

small = st.integers(1, 4).flatmap(
    lambda num_objectives: st.lists(
        st.tuples(*[st.integers(0, 5)] * num_objectives),
        min_size=1,
        max_size=30,
    )
)


def beats(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one <= other).all() and (one < other).any())


def layers(points: np.ndarray) -> np.ndarray:
    """By definition: take away who is beaten by nobody, again and again."""
    ranks, left, rank = np.full(len(points), -1), set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(beats(points[j], points[i]) for j in left)}
        ranks[list(front)] = rank
        left, rank = left - front, rank + 1
    return ranks


@given(small)
def test_fronts_and_layers_are_those_of_the_definition(listed: list[tuple[int, ...]]) -> None:
    points = np.array(listed, dtype=np.float64)
    ranks = front_ranks(points)
    assert np.array_equal(ranks, layers(points))
    front = non_dominated(points)
    assert [tuple(p) for p in points[front]] == sorted({tuple(p) for p in points[ranks == 0]})
    assert all(np.flatnonzero((points == points[i]).all(axis=1))[0] == i for i in front)


@pytest.mark.parametrize("num_objectives", [2, 3, 4])
def test_many_points_are_as_few(num_objectives: int) -> None:
    """More points than are compared in one piece, and than are struck out first."""
    rng = np.random.default_rng(num_objectives)
    points = rng.integers(0, 40, size=(5000, num_objectives)).astype(np.float64)
    ranks = front_ranks(points)
    front = non_dominated(points)
    assert {tuple(p) for p in points[front]} == {tuple(p) for p in points[ranks == 0]}
    for rank in range(1, 4):  # each layer is the front of what the layers before it leave
        left = points[ranks >= rank]
        assert {tuple(p) for p in left[non_dominated(left)]} == {tuple(p) for p in points[ranks == rank]}


def test_many_points_none_of_which_beats_another() -> None:
    first, second = np.random.default_rng(0).random((2, 20_000))
    points = np.column_stack([first, second, 2.0 - first - second])
    assert len(non_dominated(points)) == 20_000
    chain = np.repeat(np.arange(6000.0)[:, None], 3, axis=1)
    assert front_ranks(chain[::-1]).tolist() == list(range(6000))[::-1]


def test_limits_come_first_and_then_the_front() -> None:
    points = np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [0.0, 0.0], [9.0, 9.0], [0.0, 1.0]])
    violation = np.array([0.0, 0.0, 0.0, 0.5, 0.1, 0.5])
    assert constrained_ranks(points, violation).tolist() == [0, 0, 1, 3, 2, 3]
    assert constrained_ranks(points, violation + 1).tolist() == [0, 0, 0, 2, 1, 2]


def test_crowding_distances_by_hand() -> None:
    points = np.array([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0], [5.0, 5.0]])
    distance = crowding(points, np.array([0, 0, 0, 1]))
    assert distance.tolist() == [np.inf, 4 / 4 + 4 / 4, np.inf, np.inf]


# -- hypervolume -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([[3.0]], 3.0),
        ([[2.0, 3.0]], 6.0),
        ([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], 6.0),
        ([[1.0, 3.0], [2.0, 2.0], [1.0, 1.0], [-1.0, 9.0], [9.0, 0.0]], 5.0),
        ([[2.0, 2.0, 2.0], [1.0, 1.0, 3.0]], 9.0),
        ([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 3.0, 1.0]], 6.0 + 4.0 + 2.0),
        ([[2.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, 1.0], [1.0, 1.0, 2.0, 1.0], [1.0, 1.0, 1.0, 2.0]], 5.0),
        ([], 0.0),
    ],
)
def test_hypervolumes_by_hand(points: list[list[float]], volume: float) -> None:
    width = len(points[0]) if points else 2
    array = np.array(points).reshape(-1, width) + 10.0
    assert hypervolume(array, [10.0] * width) == pytest.approx(volume)


@settings(max_examples=60)
@given(
    st.integers(2, 5).flatmap(lambda width: st.lists(st.tuples(*[st.integers(0, 6)] * width), min_size=1, max_size=7))
)
def test_hypervolume_is_inclusion_and_exclusion(listed: list[tuple[int, ...]]) -> None:
    points = np.array(listed, dtype=np.float64)
    union = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            union += (-1) ** (size + 1) * np.min(chosen, axis=0).prod()
    assert hypervolume(points, np.zeros(points.shape[1])) == pytest.approx(union)


def test_hypervolume_of_three_objectives_is_what_chance_finds() -> None:
    rng = np.random.default_rng(0)
    points, thrown = rng.random((300, 3)) ** 0.3, rng.random((20_000, 3))
    inside = np.zeros(len(thrown), dtype=bool)
    for point in points:
        inside |= (thrown <= point).all(axis=1)
    found = hypervolume(points, np.zeros(3))
    assert found == pytest.approx(inside.mean(), abs=4 * np.sqrt(inside.var() / len(thrown)))
    assert found == pytest.approx(hypervolume(np.column_stack([points, np.ones(300)]), np.zeros(4)))
