"""The predictor loop's proposals, on a formula for accuracies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa.search.budgets import ResolvedBudget
from ofa.search.front import pareto_front
from ofa.search.proposals import FIRST, Known, PredictorProposals, hypervolume_gains
from ofa.search.settings import SearchSettings
from ofa.search.study.proposer import History
from predictors.base import Predict, Prediction
from predictors.features import Encoder
from predictors.ridge import Ridge
from search_spaces import SearchSpace, get_space
from search_spaces.genome import Population

SETTINGS = SearchSettings.model_validate({"budgets": {"b": {"macs": "50%"}}, "population": 32, "generations": 20})


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mobilenet_v3_digits", "resolution": [20, 28], "kernel": [3, 5], "depth": [1, 2]}, 10, 1)


def accuracies(space: SearchSpace, population: Population) -> np.ndarray:
    """Between 0.5 and 0.9: more with the logarithm of the MACs, and with the larger kernels."""
    macs = np.log(space.cost("macs").evaluate(population))
    low, high = (np.log(end()[0]) for end in (space.cost("macs").minimum, space.cost("macs").maximum))
    kernels = [i for i, gene in enumerate(space.genes) if gene.name.startswith("kernel")]
    return np.asarray(0.5 + 0.3 * (macs - low) / (high - low) + 0.1 * population[:, kernels].mean(axis=1))


def proposals(space: SearchSpace, *, budgets: bool = True, fronts: tuple[str, ...] = ("macs",)) -> PredictorProposals:
    encoder = Encoder(space)

    def fit(known: Known) -> Predict:
        accuracies = known.accuracies
        assert len(known.groups) == len(accuracies)
        model = Ridge.fit(encoder(known.population), accuracies, np.arange(len(accuracies)), seed=0)
        return lambda rows: model.predict(encoder(rows))

    costs = {name: space.cost(name) for name in ("macs", "params")}
    low, high = costs["macs"].minimum()[0], costs["macs"].maximum()[0]
    small, large = (ResolvedBudget(n, {"macs": low + s * (high - low)}) for n, s in (("small", 0.2), ("large", 0.6)))
    return PredictorProposals(space, costs, [small, large] if budgets else [], fronts, SETTINGS, fit, seed=3)


def history(space: SearchSpace, population: Population, pending: Population | None = None) -> History:
    nothing = population[:0]
    return History(population, accuracies(space, population), nothing if pending is None else pending, (0, 0, 0, 0))


def test_the_first_are_spread_over_all_sizes(space: SearchSpace) -> None:
    proposed = proposals(space).propose(history(space, space.smallest()[None][:0]), FIRST)
    macs = space.cost("macs").evaluate(proposed)
    assert len(np.unique(proposed, axis=0)) == FIRST and macs.max() > 4 * macs.min()
    rest = proposals(space).propose(history(space, proposed[:5], proposed[5:7]), FIRST)
    taken = {tuple(row) for row in proposed[:7].tolist()}
    assert len(rest) == FIRST and not taken & {tuple(row) for row in rest.tolist()}


def test_proposals_are_new_and_the_same_again(space: SearchSpace) -> None:
    known = space.sample(20, np.random.default_rng(0))
    known, pending = np.unique(known, axis=0)[:15], space.largest()[None]
    proposed = proposals(space).propose(history(space, known, pending), 7)
    assert np.array_equal(proposed, proposals(space).propose(history(space, known, pending), 7))
    rows = {tuple(row) for row in np.concatenate([known, pending, proposed]).tolist()}
    assert len(rows) == len(known) + 1 + len(proposed) and len(proposed) == 7
    assert np.array_equal(space.canonical(proposed), proposed)


def test_budgets_and_the_front_take_turns(space: SearchSpace) -> None:
    """Of three in a row one is for each goal, whatever the number known: no budget waits for another."""
    made = proposals(space)
    known = np.unique(space.sample(40, np.random.default_rng(1)), axis=0)
    limits = [budget.limits["macs"] for budget in made.budgets]
    for num in (15, 16, 17):
        macs = space.cost("macs").evaluate(made.propose(history(space, known[:num]), 3))
        for goal in (0, 1):
            assert macs[(goal - num) % 3] <= limits[goal]


def test_a_few_evaluations_find_what_many_at_random_do_not(space: SearchSpace) -> None:
    made = proposals(space)
    known = space.smallest()[None][:0]
    while len(known) < 36:
        known = np.concatenate([known, made.propose(history(space, known), 6)])
    drawn = space.sample(2000, np.random.default_rng(5))
    limit = made.budgets[0].limits["macs"]

    def best(rows: Population) -> float:
        return float(accuracies(space, rows)[space.cost("macs").evaluate(rows) <= limit].max())

    assert best(known) >= best(drawn)


def test_what_a_predictor_is_unsure_of_is_tried(space: SearchSpace) -> None:
    """All means are equal, one network's interval is wide: it is proposed at once."""
    odd = space.sample(50, np.random.default_rng(9))[space.sample(50, np.random.default_rng(9)).sum(axis=1).argmax()]

    def predict(rows: Population) -> Prediction:
        half = np.where((rows == odd).all(axis=1), 0.2, 0.01)
        mean = np.full(len(rows), 0.7)
        return Prediction(mean, mean - half, mean + half)

    small = space.restrict(resolution=[28], depth=[1])
    odd = small.largest()
    budget = ResolvedBudget("all", {"macs": small.cost("macs").maximum()[0]})
    fitted = PredictorProposals(
        small, {"macs": small.cost("macs")}, [budget], (), SETTINGS, lambda known: predict, seed=0
    )
    known = np.unique(small.sample(60, np.random.default_rng(0)), axis=0)
    known = known[(known != odd).any(axis=1)]
    assert np.array_equal(fitted.propose(history(space, known), 1)[0], odd)


points = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=12)


@given(points, points)
@settings(max_examples=60, deadline=None)
def test_gains_are_differences_of_areas(known: list, new: list) -> None:
    def area(rows: np.ndarray) -> float:
        total, best = 0.0, floor
        for cost, value in rows[pareto_front(rows[:, 0], rows[:, 1])]:
            total, best = total + max(0.0, 1.0 - cost) * max(0.0, value - best), max(best, value)
        return total

    have, more = np.array(known), np.array(new)
    floor = have[:, 1].min()
    gains = hypervolume_gains(have[:, 0], have[:, 1], more[:, 0], more[:, 1], worst_cost=1.0)
    expected = [area(np.concatenate([have, row[None]])) - area(have) for row in more]
    assert gains == pytest.approx(np.array(expected), abs=1e-12)
