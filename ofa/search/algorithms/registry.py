"""Search algorithms by the names that configs and `ofa search --algorithm` give them."""

from __future__ import annotations

from collections.abc import Callable

from ofa.search.algorithms.ageing import AgeingEvolution
from ofa.search.algorithms.base import SearchAlgorithm, SearchTask
from ofa.search.algorithms.evolution import Evolution
from ofa.search.algorithms.exhaustive import Exhaustive
from ofa.search.algorithms.local_search import LocalSearch
from ofa.search.algorithms.nsga2 import NSGA2
from ofa.search.algorithms.random_search import RandomSearch
from search_spaces.common.registry import Registry

#: What makes each of them. All but `evolution`, `ageing` and `local` take any number of objectives.
ALGORITHMS: Registry[Callable[[SearchTask], SearchAlgorithm]] = Registry(
    "search algorithm", entry_points="ofa.algorithms", makes=("ask", "tell", "state", "restore")
)
#: Those that search for a front, not for one best network.
FRONTS = ("exhaustive", "random", "nsga2")
#: A config's word for `exhaustive` where the space is small enough, else `evolution`.
AUTO = "auto"


def algorithm_of(name: str, task: SearchTask) -> tuple[str, SearchAlgorithm]:
    """The algorithm called `name`, and the name of what `auto` came to. `UserError` for an unknown one."""
    if name == AUTO:
        name = "exhaustive" if task.space.size <= task.exhaustive_limit else "evolution"
    return name, ALGORITHMS.get(name, key="algorithm")(task)


@ALGORITHMS.register("evolution")
def _evolution(task: SearchTask) -> SearchAlgorithm:
    return Evolution(
        task.space,
        population=task.population,
        generations=task.generations,
        patience=task.patience,
        seed=task.seed,
        start=task.start,
        violation=task.violation,
    )


@ALGORITHMS.register("exhaustive")
def _exhaustive(task: SearchTask) -> SearchAlgorithm:
    return Exhaustive(task.space, limit=task.exhaustive_limit)


@ALGORITHMS.register("random")
def _random(task: SearchTask) -> SearchAlgorithm:
    return RandomSearch(task.space, evaluations=task.evaluations, seed=task.seed)


@ALGORITHMS.register("stratified")
def _stratified(task: SearchTask) -> SearchAlgorithm:
    """Random, spread over the first cost that has a limit, up to that limit; without one over the MACs."""
    cost, highest = task.limited[0] if task.limited else (task.space.cost("macs"), None)
    return RandomSearch(task.space, evaluations=task.evaluations, seed=task.seed, cost=cost, highest=highest)


@ALGORITHMS.register("ageing")
def _ageing(task: SearchTask) -> SearchAlgorithm:
    return AgeingEvolution(
        task.space,
        population=task.population,
        evaluations=task.evaluations,
        patience=task.patience * task.population,
        seed=task.seed,
        start=task.start,
        violation=task.violation,
    )


@ALGORITHMS.register("local")
def _local(task: SearchTask) -> SearchAlgorithm:
    return LocalSearch(
        task.space,
        climbs=max(1, task.population // 16),
        evaluations=task.evaluations,
        seed=task.seed,
        start=task.start,
        violation=task.violation,
    )


@ALGORITHMS.register("nsga2")
def _nsga2(task: SearchTask) -> SearchAlgorithm:
    return NSGA2(
        task.space,
        population=task.population,
        generations=task.generations,
        patience=task.patience,
        seed=task.seed,
        start=task.start,
    )
