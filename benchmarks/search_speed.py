"""How fast predictor-only search is: the published predictor, the Note10 table, ofa_mobilenet_v3 of width 1.2.

    OFA_BENCH_DATA=... OPENBLAS_NUM_THREADS=2 python -m benchmarks.search_speed [--repeats 5] [--random 1000000]

Seconds are given twice, of the wall and of the processor (all threads): on a machine that does other things too only
the latter mean anything. Writes benchmarks/results/search_speed.json.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer.machine import Neighbours, checkout, machine_facts
from ofa.search.algorithms.base import Archive, Scores, SearchTask, drive
from ofa.search.algorithms.limits import Limits
from ofa.search.algorithms.registry import ALGORITHMS, algorithm_of
from ofa.search.budgets import ResolvedBudget
from ofa.search.costs import all_costs, named_tables
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import FrontArchive, front_scores, pareto_front, predicted_front, random_front
from predictors.published import import_predictor
from search_spaces import SearchSpace
from search_spaces.common.files import write_json

RESULTS = Path(__file__).parent / "results" / "search_speed.json"
COST, LIMIT_MS = "latency@samsung_note10", 25.0
#: The peer's usual search: 100 members, 500 generations.
POPULATION, GENERATIONS = 100, 500


def timed(work: Callable[[int], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """Medians of `repeats` calls with seeds 0, 1, ..., and what the last gave."""
    work(0)  # tables and caches
    walls, processors, result = [], [], None
    for seed in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = work(seed)
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    seconds = {"wall_s": statistics.median(walls), "processor_s": statistics.median(processors)}
    return {**seconds, "least_wall_s": min(walls), "least_processor_s": min(processors)}, result


class Problem:
    """Accuracy against latency, as far as predictor and table know the space."""

    def __init__(self) -> None:
        data = Path(os.environ.get("OFA_BENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
        predictor = import_predictor(data / "published" / "accuracy_predictors" / "acc_predictor.pth")
        known = SearchSpace.from_description(predictor.space_description)
        self.space = known.restrict(resolution=[160, 176, 192, 208, 224])
        costs = all_costs(self.space, named_tables([Path("samsung_note10")]))
        self.predict, self.latency = predictor.bind(self.space), costs[COST]
        self.limits = Limits(costs, {COST: LIMIT_MS})
        self.start = feasible_networks(self.space, costs, ResolvedBudget("b", {COST: LIMIT_MS}))

    def evaluate(self, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        return self.predict(rows).mean, self.latency.evaluate(rows)

    def score(self, rows: np.ndarray) -> Scores:
        return Scores(self.predict(rows).mean, self.limits(rows))

    def task(self, seed: int) -> SearchTask:
        return SearchTask(
            self.space,
            population=POPULATION,
            generations=GENERATIONS,
            patience=GENERATIONS,
            seed=seed,
            start=self.start,
            violation=self.limits,
            limited=((self.latency, LIMIT_MS),),
        )

    def best(self, name: str, seed: int) -> tuple[int, float]:
        """Networks scored, and the best accuracy within the limit."""
        archive = Archive(self.space.num_genes, 8)
        num = drive(algorithm_of(name, self.task(seed))[1], self.score, archive)
        return num, float(archive.scores.objective[0])

    def front(self, seed: int) -> tuple[int, int]:
        archive = FrontArchive(self.space.num_genes)
        num = drive(algorithm_of("nsga2", self.task(seed))[1], front_scores(self.predict, [self.latency]), archive)
        return num, len(archive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--random", type=int, default=1_000_000, help="random networks of the front")
    options = parser.parse_args()
    problem, neighbours, found = Problem(), Neighbours(), {}

    def note(name: str, seconds: dict[str, float], **facts: Any) -> None:
        rounded = {key: round(value, 4) for key, value in seconds.items()}
        found[name] = {**rounded, **facts}
        print(f"{name:24}", *(f"{key} {value:,}" for key, value in found[name].items()), flush=True)

    rows = problem.space.sample(65_536, np.random.default_rng(0))
    seconds, _ = timed(partial(problem.evaluate, rows), options.repeats)
    rate = {f"per_{key}": round(len(rows) / value) for key, value in seconds.items()}
    note("evaluations", seconds, networks=len(rows), **rate)
    for name in ALGORITHMS.names():
        if name == "exhaustive":
            continue
        seconds, (num, best) = timed(partial(problem.best, name), options.repeats)
        note(name, seconds, networks=num, best_accuracy=round(best, 5))
    seconds, (num, size) = timed(problem.front, options.repeats)
    note("nsga2_front", seconds, networks=num, front=size)
    front = partial(predicted_front, problem.space, problem.predict, problem.latency)
    seconds, population = timed(lambda seed: front(seed=seed), options.repeats)
    note("predicted_front", seconds, front=len(population))
    for columns in (1, 2):
        points = np.random.default_rng(0).random((1_000_000, columns + 1))
        seconds, where = timed(lambda seed, at=points: pareto_front(at[:, 1:], at[:, 0]), options.repeats)
        note(f"front_of_{columns}_costs", seconds, points=len(points), front=len(where))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    drawn = partial(random_front, problem.space, problem.predict, problem.latency, num=options.random)
    wall, processor = time.perf_counter(), time.process_time()
    archive = drawn(seed=0)
    seconds = {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    note("random_front", seconds, networks=options.random, front=len(archive), memory_grown_mib=round(grown, 1))
    threads = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
    facts = {"threads": threads, "repeats": options.repeats, "busy_cores_of_others": neighbours.cores([])}
    setting = {"limit_ms": LIMIT_MS, "population": POPULATION, "generations": GENERATIONS}
    write_json(
        RESULTS, {"machine": machine_facts(), "checkout": checkout(), **facts, "setting": setting, "found": found}
    )


if __name__ == "__main__":
    main()
