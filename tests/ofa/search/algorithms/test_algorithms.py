from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ofa.search.algorithms.base import Archive, Scores, drive, violations
from ofa.search.algorithms.evolution import Evolution
from ofa.search.algorithms.exhaustive import Exhaustive
from ofa.search.algorithms.neighbourhood import neighbours
from ofa.search.algorithms.row_set import RowSet
from ofa.search.budgets import ResolvedBudget, parse_budget, resolve
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.run import search, search_budget
from ofa.search.settings import SearchSettings
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import Infeasible, UserError
from search_spaces.costs import CostTable

Costs = dict[str, CostTable]


def settings(**changes: object) -> SearchSettings:
    return SearchSettings.model_validate({"budgets": {"b": {"macs": "50%"}}, **changes})


def best_by_hand(space: SearchSpace, costs: Costs, limits: dict[str, float], predict, num: int = 1) -> np.ndarray:
    everything = space.enumerate(10_000)
    kept = everything[violations(costs, limits, everything) == 0]
    return np.sort(predict(kept).mean)[::-1][:num]


@pytest.mark.slow
def test_evolution_finds_the_constrained_optimum(space: SearchSpace, costs: Costs, landscape: Callable) -> None:
    """100 landscapes and seeds, three limits at once; at most a fifth of the space is scored on average."""
    budget = resolve(parse_budget("b", {"macs": "35%", "latency": "30%", "peak_memory": "60%"}), costs)
    found, scored = 0, []
    options = settings(algorithm="evolution", population=48, generations=80, patience=25, candidates=1)
    start = feasible_networks(space, costs, budget)
    for seed in range(100):
        predict = landscape(seed)
        result = search_budget(space, predict, costs, budget, options, seed=seed, start=start)
        found += result.prediction.mean[0] == pytest.approx(
            best_by_hand(space, costs, budget.limits, predict)[0], abs=1e-12
        )
        scored.append(result.num_scored)
    assert found >= 95
    assert np.mean(scored) < space.size / 5


def test_evolution_reaches_a_tiny_feasible_region_without_help(space: SearchSpace, costs: Costs, landscape) -> None:
    everything = space.enumerate(10_000)
    limit = float(np.sort(costs["latency@a"].evaluate(everything))[3])  # four networks of 5,292
    budget = ResolvedBudget("b", {"latency@a": limit})
    options = settings(algorithm="evolution", population=48, generations=60)
    for seed in range(5):
        result = search_budget(space, landscape(seed), costs, budget, options, seed=seed)
        wanted = best_by_hand(space, costs, budget.limits, landscape(seed), num=4)
        assert result.prediction.mean == pytest.approx(wanted)


def test_exhaustive_is_exact_and_chunks_do_not_show(space: SearchSpace, costs: Costs, landscape: Callable) -> None:
    predict, limits = landscape(0), {"macs": 5e5}

    def score(population: np.ndarray) -> Scores:
        return Scores(predict(population).mean, violations(costs, limits, population))

    results = []
    for chunk in (100_000, 700):
        archive = Archive(space.num_genes, 20)
        assert drive(Exhaustive(space, limit=10_000, chunk=chunk), score, archive) == space.size
        results.append(archive)
    assert np.array_equal(results[0].population, results[1].population)
    assert results[0].scores.objective == pytest.approx(best_by_hand(space, costs, limits, predict, num=20))
    with pytest.raises(UserError, match="too many to list"):
        Exhaustive(space, limit=100)


def test_same_seed_same_search_and_no_network_twice(landscape: Callable, space: SearchSpace, costs: Costs) -> None:
    predict = landscape(3)
    asked: list[list[np.ndarray]] = []
    for seed in (0, 0, 1):
        algorithm = Evolution(space, population=32, generations=15, seed=seed)
        rows = []
        while len(population := algorithm.ask()):
            algorithm.tell(population, Scores(predict(population).mean, np.zeros(len(population))))
            rows.append(population)
        asked.append(rows)
        everything = np.concatenate(rows)
        assert len(np.unique(everything, axis=0)) == len(everything)
        assert np.array_equal(everything, space.canonical(everything))
    assert all(np.array_equal(a, b) for a, b in zip(asked[0], asked[1], strict=True))
    assert not np.array_equal(asked[0][0], asked[2][0])


def test_evolution_of_a_tiny_space_ends_when_all_is_asked(space: SearchSpace) -> None:
    part = space.restrict(resolution=[28], kernel=[3], depth=[2])
    archive = Archive(part.num_genes, 100)
    zeros = lambda rows: Scores(np.zeros(len(rows)), np.zeros(len(rows)))  # noqa: E731
    assert drive(Evolution(part, population=16, patience=1000, generations=1000), zeros, archive) == part.size == 16
    assert len(archive) == 16


def test_archive_is_a_sort(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    archive = Archive(space.num_genes, 7)
    rows = space.sample(400, rng)
    objective = np.round(space.cost("params").evaluate(rows) % 97 / 97, 1)  # many ties
    violation = np.maximum(0, np.round(space.cost("macs").evaluate(rows) % 89 / 89 - 0.5, 1))
    for part in np.array_split(np.arange(400), 9):
        archive.add(rows[part], Scores(objective[part], violation[part]))
    wanted = sorted({(v, -o, tuple(r)) for r, o, v in zip(rows.tolist(), objective, violation, strict=True)})[:7]
    found = zip(
        archive.scores.violation, -archive.scores.objective, map(tuple, archive.population.tolist()), strict=True
    )
    assert list(found) == wanted


def test_row_set_and_neighbours(space: SearchSpace) -> None:
    seen = RowSet(space.num_genes)
    rows = space.sample(300, np.random.default_rng(0))
    rows = np.concatenate([rows, rows[:50]])
    first = seen.add(rows)
    assert np.array_equal(np.unique(first, axis=0), np.unique(rows, axis=0))
    assert len(first) == len(seen) == len(np.unique(rows, axis=0))
    assert len(seen.add(rows)) == 0
    assert not seen.new(rows).any()
    everything = space.enumerate(10_000)
    assert RowSet(space.num_genes).add_first(everything).tolist() == list(range(space.size))
    row = space.largest()
    near = {tuple(r) for r in neighbours(space, row).tolist()}
    for other in near - {tuple(row)}:
        changed = np.flatnonzero(np.array(other) != row)
        assert len(changed) == 1 or not space.active(np.array([other]))[0][changed[1:]].all()
    assert len(near) == 1 + sum(len(gene.options) - 1 for gene in space.genes)


def test_budgets_share_what_they_find(space: SearchSpace, costs: Costs, landscape: Callable) -> None:
    names = {"large": "80%", "small": "20%", "medium": "50%"}
    budgets = [resolve(parse_budget(name, {"latency": text}), costs) for name, text in names.items()]
    for algorithm in ("exhaustive", "evolution"):
        ranked = search(space, landscape(1), costs, budgets, settings(algorithm=algorithm, candidates=5), seed=0)
        assert list(ranked) == ["small", "medium", "large"]
        best = [entry.prediction.mean[0] for entry in ranked.values()]
        assert best == sorted(best)
        for entry in ranked.values():
            assert entry.algorithm == algorithm
            assert len(np.unique(entry.population, axis=0)) == 5
            assert (np.diff(entry.prediction.mean) <= 0).all()
            assert (entry.costs["latency@a"] <= entry.budget.limits["latency@a"]).all()


def test_a_search_that_meets_nothing_within_a_budget_falls_back_on_what_is_known(
    space: SearchSpace, costs: Costs, landscape: Callable
) -> None:
    """Random networks miss the one network that keeps this limit."""
    limit = float(costs["params"].minimum()[0])
    options = settings(algorithm="random", population=8, generations=2)
    ranked = search(space, landscape(1), costs, [ResolvedBudget("b", {"params": limit})], options)["b"]
    assert (ranked.algorithm, ranked.num_scored) == ("random", 16)
    assert (ranked.costs["params"] <= limit).all()
    assert len(ranked.population) >= 1


def test_an_impossible_budget_stops_the_search_before_it_begins(space: SearchSpace, costs: Costs) -> None:
    def predict(population: np.ndarray):
        raise AssertionError("nothing may be scored")

    budgets = [ResolvedBudget("fine", {"macs": 1e9}), ResolvedBudget("impossible", {"macs": 1.0})]
    with pytest.raises(Infeasible, match="impossible"):
        search(space, predict, costs, budgets, settings())


def test_the_published_space_is_searched(landscape: Callable) -> None:
    """2e19 networks: better than a random search of the same number of networks, and every limit kept."""
    space = get_space({"name": "ofa_mobilenet_v3"})
    rng = np.random.default_rng(0)
    effects = rng.normal(size=space.one_hot(space.smallest()[None]).shape[1])

    def predict(population: np.ndarray):
        from predictors.base import Prediction

        mean = 1 / (1 + np.exp(-space.one_hot(population) @ effects / 20))
        return Prediction(mean, mean, mean)

    costs = {"macs": space.cost("macs")}
    budget = resolve(parse_budget("b", {"macs": "25%"}), costs)
    result = search_budget(
        space, predict, costs, budget, settings(generations=40), start=feasible_networks(space, costs, budget)
    )
    random = space.sample(result.num_scored, rng)
    random = random[costs["macs"].evaluate(random) <= budget.limits["macs"]]
    assert result.algorithm == "evolution"
    assert (result.costs["macs"] <= budget.limits["macs"]).all()
    assert result.prediction.mean.min() > (predict(random).mean.max() if len(random) else 0) + 0.01
