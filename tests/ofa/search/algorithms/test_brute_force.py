"""Fronts and constrained optima of spaces of up to 10^5 networks, against all of their networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from ofa.search.algorithms.base import Scores, SearchTask, drive, violations
from ofa.search.algorithms.hypervolume import hypervolume
from ofa.search.algorithms.registry import algorithm_of
from ofa.search.budgets import ResolvedBudget
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import FrontArchive, predicted_front
from ofa.search.run import search_budget
from ofa.search.settings import SearchSettings
from predictors.base import Prediction
from search_spaces import SearchSpace, get_space
from search_spaces.costs import CostTable

SPACES = ("ofa_mobilenet_v3", "ofa_proxyless_nas", "ofa_resnet50")


@cache
def small_part(name: str, most: int = 100_000) -> SearchSpace:
    """A random part of a published space, as large as allowed."""
    space, rng = get_space({"name": name}), np.random.default_rng(0)
    while space.size > most:
        gene = space.genes[rng.choice([i for i, gene in enumerate(space.genes) if len(gene.options) > 1])]
        kept = np.sort(rng.choice(len(gene.options), size=len(gene.options) - 1, replace=False))
        space = space.restrict({gene.name: [gene.options[i] for i in kept]})
    return space


def landscape(space: SearchSpace, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Main effects, interactions of all pairs of options, and size."""
    rng, macs = np.random.default_rng(seed), space.cost("macs")
    num = int(space.genome.num_options.sum())
    effects, pairs = 0.3 * rng.normal(size=num), 0.075 * rng.normal(size=(num, num))

    def accuracy(rows: np.ndarray) -> np.ndarray:
        x = space.one_hot(rows).astype(np.float64)
        return x @ effects + ((x @ pairs) * x).sum(axis=1) + 3 * np.log(macs.evaluate(rows) / macs.minimum()[0])

    return accuracy


def costs_of(space: SearchSpace) -> dict[str, CostTable]:
    latency = space.cost_of(lambda op: 1e-3 * op.params() ** 0.5 + 2e-6 * op.macs() ** 0.9, constant=0.02)
    return {"latency@a": latency, "params": space.cost("params")}


def share_of_the_front(name: str, seed: int, num_costs: int, population: int, generations: int) -> float:
    """Hypervolume of what NSGA-II finds, as a share of that of the true front; axes scaled to the space."""
    space = small_part(name)
    costs, accuracy = list(costs_of(space).values())[:num_costs], landscape(space, seed)

    def score(rows: np.ndarray) -> Scores:
        objectives = np.column_stack([accuracy(rows), *(-cost.evaluate(rows) for cost in costs)])
        return Scores(objectives, np.zeros(len(rows)))

    archive = FrontArchive(space.num_genes)
    task = SearchTask(space, population=population, generations=generations, seed=seed)
    assert drive(algorithm_of("nsga2", task)[1], score, archive) < space.size / 4
    every = score(space.enumerate(100_000)).objectives
    low, span = every.min(axis=0), np.ptp(every, axis=0)
    origin = np.full(num_costs + 1, -1e-3)
    found = hypervolume((archive.scores.objectives - low) / span, origin)
    return found / hypervolume((every - low) / span, origin)


@pytest.mark.parametrize(("name", "num_costs"), [("ofa_mobilenet_v3", 1), ("ofa_resnet50", 2)])
def test_nsga2_finds_the_front(name: str, num_costs: int) -> None:
    """With 9 % of the networks scored at most."""
    assert share_of_the_front(name, 0, num_costs, population=128, generations=60) > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("num_costs", [1, 2])
@pytest.mark.parametrize("name", SPACES)
def test_nsga2_finds_the_front_from_every_seed(name: str, num_costs: int) -> None:
    shares = [share_of_the_front(name, seed, num_costs, population=128, generations=150) for seed in range(10)]
    assert min(shares) >= 0.999


def optima_found(name: str, seeds: range) -> float:
    """How often evolution, as configured by default, ends with the best network within a budget; a landscape a seed."""
    space = small_part(name)
    costs, every = costs_of(space), small_part(name).enumerate(100_000)
    limits = {cost: float(np.quantile(table.evaluate(every), 0.3)) for cost, table in costs.items()}
    kept = every[violations(costs, limits, every) == 0]
    settings = SearchSettings.model_validate({"budgets": {"b": {"macs": "50%"}}, "algorithm": "evolution"})
    budget = ResolvedBudget("b", limits)
    start = feasible_networks(space, costs, budget)
    found = 0
    for seed in seeds:
        accuracy = landscape(space, seed)
        result = search_budget(
            space, lambda rows, of=accuracy: Prediction(of(rows)), costs, budget, settings, seed=seed, start=start
        )
        assert (result.costs["latency@a"] <= limits["latency@a"]).all()
        found += bool(result.prediction.mean[0] >= accuracy(kept).max() - 1e-9)
    return found / len(seeds)


def test_evolution_finds_the_best_within_a_budget() -> None:
    assert optima_found("ofa_proxyless_nas", range(3)) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", SPACES)
def test_evolution_finds_the_best_within_a_budget_from_nearly_every_seed(name: str) -> None:
    assert optima_found(name, range(100)) >= 0.95


def test_the_predicted_front_of_two_costs_within_limits() -> None:
    space = small_part("ofa_resnet50", 10_000)
    costs, accuracy = costs_of(space), landscape(space, 3)
    limits = {"params": float(np.mean(costs["params"].evaluate(space.enumerate(10_000))))}

    def predict(rows: np.ndarray) -> Prediction:
        return Prediction(accuracy(rows))

    fronts = [
        predicted_front(
            space,
            predict,
            list(costs.values()),
            num_samples=num,
            population=64,
            generations=40,
            violation=lambda rows: violations(costs, limits, rows),
        )
        for num in (10_000, 100)
    ]
    assert len(fronts[0]) > 10
    assert (violations(costs, limits, fronts[0]) == 0).all()
    assert (np.diff(costs["latency@a"].evaluate(fronts[0])) >= 0).all()
    listed, evolved = ({tuple(row) for row in front.tolist()} for front in fronts)
    assert len(listed & evolved) > 0.95 * len(listed)
