from __future__ import annotations

import numpy as np
import pytest

from ofa.search.algorithms.base import violations
from ofa.search.algorithms.limits import Limits
from search_spaces import SearchSpace, get_space
from search_spaces.costs import CostTable

METRICS = ("macs", "params", "peak_memory", "flash")


@pytest.mark.parametrize("name", ["ofa_mobilenet_v3", "ofa_resnet50", "hybrid_nano", "digits"])
def test_limits_are_broken_by_as_much_as_the_costs_say(
    name: str, space: SearchSpace, costs: dict[str, CostTable]
) -> None:
    """To the last bit, so that a network just on a limit keeps it for everyone; more rows than go in one piece."""
    if name != "digits":
        space = get_space({"name": name})
        costs = {metric: space.cost(metric) for metric in METRICS}
        costs["latency@a"] = space.cost_of(lambda op: 1e-3 * op.params() ** 0.5 + 2e-6 * op.macs() ** 0.9, constant=0.1)
    rows = space.sample(5000, np.random.default_rng(0))
    for chosen in (["latency@a"], ["peak_memory"], [*costs]):
        limits = {cost: float(np.sort(costs[cost].evaluate(rows))[2000]) for cost in chosen}
        broken = Limits(costs, limits)(rows)
        assert np.array_equal(broken, violations(costs, limits, rows))
        assert 0 < (broken == 0).sum() <= 3000
        assert np.array_equal(broken[:1], Limits(costs, limits)(rows[:1]))
    assert Limits(costs, {})(rows[:3]).tolist() == [0, 0, 0]


def test_genes_that_are_switched_off_break_no_limit(space: SearchSpace, costs: dict[str, CostTable]) -> None:
    """Searches ask before they bring rows into canonical form."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, space.genome.num_options, size=(2000, space.num_genes))
    assert (space.canonical(rows) != rows).any()
    limits = {cost: float(np.median(costs[cost].evaluate(space.canonical(rows)))) for cost in costs}
    broken = Limits(costs, limits)
    assert np.array_equal(broken(rows), broken(space.canonical(rows)))
