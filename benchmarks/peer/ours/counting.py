"""Exact MACs and parameters of many subnets, from the cost tables of the space. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.peer.architectures import space_of
from benchmarks.peer.clock import timed
from search_spaces import Architecture, SearchSpace

Described = Sequence[Mapping[str, Any]]


class Counting:
    """Width 1.0, 1000 classes, all published resolutions."""

    def __init__(self) -> None:
        self.space = space_of()
        self.costs = {metric: self.space.cost(metric) for metric in ("macs", "params")}

    def count(self, subnets: Described) -> dict[str, Any]:
        """From `Architecture`s, with the tables built before."""
        chosen = [Architecture(subnet) for subnet in subnets]

        def run() -> dict[str, Any]:
            population = self.space.encode(chosen)
            return {metric: table.evaluate(population) for metric, table in self.costs.items()}

        return _counted(run, len(chosen))

    def count_from_scratch(self, subnets: Described) -> dict[str, Any]:
        """From `Architecture`s, with the space and its tables built anew: what a first call costs."""
        chosen = [Architecture(subnet) for subnet in subnets]

        def run() -> dict[str, Any]:
            space: SearchSpace = space_of()
            population = space.encode(chosen)
            return {metric: space.cost(metric).evaluate(population) for metric in ("macs", "params")}

        return _counted(run, len(chosen))

    def count_population(self, num: int, seed: int) -> dict[str, Any]:
        """From rows of a population, as a search does."""
        population = self.space.sample(num, np.random.default_rng(seed))
        seconds, _ = timed(lambda: [table.evaluate(population) for table in self.costs.values()])
        return {"seconds": seconds, "count": num}


def _counted(run: Any, num: int) -> dict[str, Any]:
    seconds, counts = timed(run)
    return {"seconds": seconds, "count": num, **{metric: values.tolist() for metric, values in counts.items()}}


load = Counting
