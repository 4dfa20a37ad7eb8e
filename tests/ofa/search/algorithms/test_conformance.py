"""What every registered search algorithm keeps to; a new one is tested by being registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ofa.search.algorithms.base import Archive, Scores, SearchTask, drive, violations
from ofa.search.algorithms.registry import ALGORITHMS, FRONTS, algorithm_of
from ofa.search.algorithms.state_file import drive_saved, read_search, search_identity, write_search
from ofa.search.budgets import parse_budget, resolve
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import FrontArchive
from ofa.search.settings import SearchSettings
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from search_spaces.costs import CostTable

Score = Callable[[np.ndarray], Scores]
Asked = list[tuple[np.ndarray, Scores]]

pytestmark = pytest.mark.parametrize("name", ALGORITHMS.names())


@pytest.fixture(scope="module")
def limits(costs: dict[str, CostTable]) -> dict[str, float]:
    return resolve(parse_budget("b", {"macs": "30%", "latency": "40%"}), costs).limits


@pytest.fixture(scope="module")
def score(costs: dict[str, CostTable], limits: dict[str, float], landscape: Callable) -> Score:
    return lambda rows: Scores(landscape(4)(rows).mean, violations(costs, limits, rows))


@pytest.fixture(scope="module")
def task(space: SearchSpace, costs: dict[str, CostTable], limits: dict[str, float]) -> SearchTask:
    budget = resolve(parse_budget("b", {"macs": "30%", "latency": "40%"}), costs)
    return SearchTask(
        space,
        population=24,
        generations=20,
        patience=1000,
        exhaustive_limit=10_000,
        start=feasible_networks(space, costs, budget),
        violation=partial(violations, costs, limits),
        limited=tuple((costs[cost], limit) for cost, limit in limits.items()),
    )


def asked(name: str, task: SearchTask, score: Score) -> Asked:
    algorithm = algorithm_of(name, task)[1]
    told = []
    while len(population := algorithm.ask()):
        told.append((population.copy(), score(population)))
        algorithm.tell(*told[-1])
    assert len(algorithm.ask()) == 0  # over is over
    return told


def test_asks_distinct_networks_of_the_space_and_ends(name: str, task: SearchTask, score: Score) -> None:
    rows = np.concatenate([population for population, _ in asked(name, task, score)])
    assert rows.dtype == np.int64
    assert ((rows >= 0) & (rows < task.space.genome.num_options)).all()
    assert np.array_equal(rows, task.space.canonical(rows))
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert len(rows) >= task.evaluations * 0.8
    if name != "exhaustive":
        assert len(rows) <= 1.5 * task.evaluations + 200


def test_the_seed_decides(name: str, task: SearchTask, score: Score) -> None:
    runs = [asked(name, replace(task, seed=seed), score) for seed in (1, 1, 2)]
    rows = [np.concatenate([population for population, _ in run]) for run in runs]
    assert np.array_equal(rows[0], rows[1])
    assert name == "exhaustive" or not np.array_equal(rows[0][:200], rows[2][:200])


@pytest.mark.parametrize("cut", [0, 1, 0.3, 0.8])
def test_resumed_is_as_uninterrupted(name: str, cut: float, task: SearchTask, score: Score, tmp_path: Path) -> None:
    """Through a file, into an algorithm made anew with the same arguments."""
    whole, path = asked(name, task, score), tmp_path / "search.safetensors"
    steps = int(cut) if cut in (0, 1) else int(cut * len(whole))
    first, archive = algorithm_of(name, task)[1], Archive(task.space.num_genes, 5)
    for _ in range(steps):
        population = first.ask()
        scores = score(population)
        first.tell(population, scores)
        archive.add(population, scores)
    identity = search_identity(task.space, name, population=task.population)
    write_search(path, identity, first.state(), archive.state(), 7)
    if len(population := first.ask()):  # the state is a copy: that the first one goes on does not show
        first.tell(population, score(population))
    second, kept = algorithm_of(name, task)[1], Archive(task.space.num_genes, 5)
    known, kept_state, num = read_search(path, identity)
    assert num == 7
    second.restore(known)
    kept.restore(kept_state)
    for expected, scores in whole[steps:]:
        population = second.ask()
        assert np.array_equal(population, expected)
        second.tell(population, scores)
        kept.add(population, scores)
    assert len(second.ask()) == 0
    uninterrupted = Archive(task.space.num_genes, 5)
    for population, scores in whole:
        uninterrupted.add(population, scores)
    assert np.array_equal(kept.population, uninterrupted.population)


def test_a_saved_search_goes_on_and_belongs_to_its_space(
    name: str, task: SearchTask, score: Score, tmp_path: Path
) -> None:
    path, identity = tmp_path / "search.safetensors", search_identity(task.space, name)
    archives = [Archive(task.space.num_genes, 5) for _ in range(3)]
    total = drive(algorithm_of(name, task)[1], score, archives[0])

    class Killed(Exception):
        pass

    calls = 0

    def interrupted(rows: np.ndarray) -> Scores:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return score(rows)

    try:
        drive_saved(algorithm_of(name, task)[1], interrupted, archives[1], path, identity, every_seconds=0)
    except Killed:
        assert len(read_search(path, identity)[1].arrays["population"])
    assert drive_saved(algorithm_of(name, task)[1], score, archives[2], path, identity) == total
    assert np.array_equal(archives[2].population, archives[0].population)
    other = task.space.restrict(kernel=[3])
    with pytest.raises(UserError, match="another space"):
        read_search(path, search_identity(other, name))
    with pytest.raises(UserError, match="another algorithm"):
        read_search(path, search_identity(task.space, name + "2"))
    with pytest.raises(UserError, match="other options"):
        read_search(path, search_identity(task.space, name, population=3))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="not the state of a search"):
        read_search(path, identity)


def test_limits_are_kept_where_they_can_be(name: str, task: SearchTask, score: Score) -> None:
    """The best it finds keeps them, and is better than the median of all networks that do."""
    archive = Archive(task.space.num_genes, 1)
    drive(algorithm_of(name, task)[1], score, archive)
    every = score(task.space.enumerate(10_000))
    assert archive.scores.violation[0] == 0
    assert archive.scores.objective[0] > np.median(every.objective[every.violation == 0])
    if name == "exhaustive":
        assert archive.scores.objective[0] == every.objective[every.violation == 0].max()


def test_it_is_better_than_chance(
    name: str, task: SearchTask, costs: dict[str, CostTable], landscape: Callable
) -> None:
    """Mean of ten landscapes, as shares of the way from the best of as many random networks to the optimum."""
    if name in ("random", "stratified", "exhaustive"):
        pytest.skip("is chance, or beyond it")
    rows = task.space.enumerate(10_000)
    rows = rows[task.violation(rows) == 0]
    gains = []
    for seed in range(10):
        predict, best = landscape(seed), {}
        for searched in (name, "random"):
            archive = Archive(task.space.num_genes, 1)
            own = replace(task, seed=seed, generations=12)
            score = lambda rows, predict=predict: Scores(predict(rows).mean, task.violation(rows))  # noqa: E731
            drive(algorithm_of(searched, own)[1], score, archive)
            best[searched] = archive.scores.objective[0]
        optimum = predict(rows).mean.max()
        gains.append((best[name] - best["random"]) / max(optimum - best["random"], 1e-9))
    assert np.mean(gains) > 0.5


def test_a_tiny_space_is_searched_whole_or_to_an_end(name: str, task: SearchTask) -> None:
    part = task.space.restrict(resolution=[28], kernel=[3], depth=[2])
    archive = Archive(part.num_genes, 100)
    own = SearchTask(part, population=16, generations=50, patience=1000)
    num = drive(algorithm_of(name, own)[1], lambda rows: Scores(rows.sum(axis=1) * 1.0, np.zeros(len(rows))), archive)
    assert num <= part.size == 16
    assert archive.scores.objective[0] == part.enumerate().sum(axis=1).max()


def test_several_objectives(name: str, task: SearchTask, costs: dict[str, CostTable], landscape: Callable) -> None:
    if name not in FRONTS:
        pytest.skip("one objective")
    predict, archive = landscape(4), FrontArchive(task.space.num_genes)

    def score(rows: np.ndarray) -> Scores:
        objectives = np.column_stack([predict(rows).mean, *(-costs[c].evaluate(rows) for c in ("macs", "params"))])
        return Scores(objectives, task.violation(rows))

    drive(algorithm_of(name, task)[1], score, archive)
    assert len(archive) > 5
    assert (task.violation(archive.population) == 0).all()


def test_configs_name_it(name: str) -> None:
    def settings(algorithm: str) -> SearchSettings:
        return parse_settings(
            SearchSettings, {"budgets": {"b": {"macs": "50%"}}, "algorithm": algorithm}, file="a.yaml"
        )

    assert settings(name).algorithm == name
    with pytest.raises(UserError, match=f"a.yaml: algorithm: unknown search algorithm '{name}x'"):
        settings(name + "x")
