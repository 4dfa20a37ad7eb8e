"""`--confidence`: what is admitted by prediction, what is measured, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from latency_tables.ethos_u import table as vela_table
from latency_tables.listed import ListedTable
from latency_tables.samples import Measurement
from ofa.search.budgets import ResolvedBudget
from ofa.search.offline import confidence
from ofa.search.offline.confidence import Bounds, search_with_confidence, tables_here
from ofa.search.settings import SearchSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.costs import CostTable

COST = "latency@a"
#: a table that is up to 20 % too low and 10 % too high on whole networks
TABLE = SimpleNamespace(graded=([1.0] * 40, list(np.linspace(0.9, 1.2, 40))), settings=None)


@pytest.fixture
def budget(costs: dict[str, CostTable]) -> ResolvedBudget:
    low, high = costs[COST].minimum()[0], costs[COST].maximum()[0]
    return ResolvedBudget("max", {COST: (low + high) / 2, "params": 1e9})


@pytest.fixture
def find(space: SearchSpace, costs: dict[str, CostTable], landscape: Callable, budget: ResolvedBudget) -> Callable:
    def search(here: Sequence[str], budget: ResolvedBudget = budget, wanted: float = 0.9) -> tuple:
        bounds = Bounds.of(budget, {COST: TABLE}, wanted)
        settings = SearchSettings.model_validate({"budgets": {"max": {"latency": "1ms"}}, "candidates": 6})
        tables = dict.fromkeys(here, TABLE)
        ranked, kept = search_with_confidence(space, landscape(0), costs, budget, settings, bounds, tables, seed=0)
        return bounds, ranked, kept

    return search


def times(monkeypatch: pytest.MonkeyPatch, factor: float, space: SearchSpace, cost: CostTable) -> list[Architecture]:
    """Every network takes `factor` times its prediction; the list fills with those that are measured."""
    asked: list[Architecture] = []

    def measure(space: SearchSpace, architectures: Sequence[Architecture], table: object) -> list[Measurement]:
        asked.extend(architectures)
        found = factor * cost.evaluate(space.encode(architectures))
        return [Measurement(median_ms=ms, p10_ms=ms, p90_ms=ms, count=9) for ms in found]

    monkeypatch.setattr(confidence, "_measure", measure)
    return asked


def test_elsewhere_predictions_keep_a_tighter_limit(find: Callable, budget: ResolvedBudget) -> None:
    bounds, ranked, kept = find([])
    assert 1.15 < bounds.upper[COST] <= 1.2 and "params" not in bounds.upper
    assert len(kept.rows) == 6 and not kept.measured
    assert (ranked.costs[COST][kept.rows] * bounds.upper[COST] <= budget.limits[COST] * (1 + 1e-9)).all()


def test_here_what_may_be_on_either_side_is_measured(
    find: Callable,
    budget: ResolvedBudget,
    costs: dict[str, CostTable],
    space: SearchSpace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit, _, sure = budget.limits[COST], *find([])[:2]
    for factor in (0.9, 1.1):
        asked = times(monkeypatch, factor, space, costs[COST])
        bounds, ranked, kept = find([COST])
        predicted = ranked.costs[COST]
        doubtful = np.flatnonzero(predicted * bounds.upper[COST] > limit * (1 + 1e-9))
        assert sorted(a.key for a in asked) == sorted(a.key for a in space.decode(ranked.population[doubtful]))
        assert len(asked) > 0 and len(kept.rows) == 6
        for row in kept.rows:
            within = factor * predicted[row] <= limit if row in kept.measured else predicted[row] <= limit
            assert within and (row in kept.measured) == (row in doubtful)
        assert kept.num_rejected == int((factor * predicted[doubtful] > limit).sum())
        mean = ranked.prediction.mean[kept.rows]
        assert (np.diff(mean) <= 0).all() and mean[0] >= sure.prediction.mean[0] - 1e-12


def test_nothing_within_reach(
    find: Callable, costs: dict[str, CostTable], space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = costs[COST].minimum()[0]
    budget = ResolvedBudget("max", {COST: 1.02 * least})
    with pytest.raises(Infeasible, match=r"With 0\.9 confidence, latency@a <= .* admits predictions of at most"):
        find([], budget)
    times(monkeypatch, 1.0, space, costs[COST])
    assert find([COST], budget)[2].rows.size > 0, "measured to be within the limit"
    times(monkeypatch, 1.1, space, costs[COST])
    with pytest.raises(Infeasible, match=r"all \d+ networks that may keep latency@a <= .* were measured"):
        find([COST], budget)


def test_tables_without_a_known_error(budget: ResolvedBudget) -> None:
    with pytest.raises(UserError, match="nothing is known of the error of the table that tells latency@a"):
        Bounds.of(budget, {COST: SimpleNamespace(graded=([], []))}, 0.9)
    with pytest.raises(UserError, match=r"the table that tells latency@a: 0\.99 confidence needs 99 networks"):
        Bounds.of(budget, {COST: TABLE}, 0.99)


def test_a_compiler_that_is_here_is_asked(
    landscape: Callable,
    costs: dict[str, CostTable],
    space: SearchSpace,
    budget: ResolvedBudget,
    monkeypatch: pytest.MonkeyPatch,
    tables: dict[str, ListedTable],
) -> None:
    """Where a table is of a compiler's answers, networks near the limit are judged by the compiler itself."""
    cycles = tables["a"].model_copy(update={"metric": "cycles", "unit": "cycles"})
    monkeypatch.setattr(vela_table, "can_ask", lambda table: table is cycles)
    assert tables_here({COST: cycles, "latency@b": tables["b"]}) == {COST: cycles}
    asked: list[Architecture] = []

    def ask(table: ListedTable, space: SearchSpace, architectures: Sequence[Architecture]) -> list[float]:
        asked.extend(architectures)
        return list(1.1 * costs[COST].evaluate(space.encode(architectures)))

    monkeypatch.setattr(vela_table, "ask", ask)
    bounds = Bounds.of(budget, {COST: TABLE}, 0.9)
    settings = SearchSettings.model_validate({"budgets": {"max": {"latency": "1ms"}}, "candidates": 6})
    ranked, kept = search_with_confidence(space, landscape(0), costs, budget, settings, bounds, {COST: cycles}, seed=0)
    assert asked and kept.measured
    for row, answers in kept.measured.items():
        assert answers[COST].value == pytest.approx(1.1 * ranked.costs[COST][row])
        assert (row in kept.rows) == (answers[COST].value <= budget.limits[COST])
