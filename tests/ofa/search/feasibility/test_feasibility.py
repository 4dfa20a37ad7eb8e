from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa.search.algorithms.base import violations
from ofa.search.budgets import ResolvedBudget
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import pareto_front
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import Infeasible
from search_spaces.costs import CostTable

Costs = dict[str, CostTable]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shares=st.dictionaries(
        st.sampled_from(["macs", "params", "peak_memory", "latency@a"]), st.floats(-0.05, 0.3), min_size=1
    )
)
def test_the_verdict_is_that_of_brute_force(space: SearchSpace, costs: Costs, shares: dict[str, float]) -> None:
    limits = {}
    for name, share in shares.items():
        low, high = costs[name].minimum()[0], costs[name].maximum()[0]
        limits[name] = low + share * (high - low)
    everything = space.enumerate(10_000)
    possible = bool((violations(costs, limits, everything) == 0).any())
    try:
        found = feasible_networks(space, costs, ResolvedBudget("b", limits))
    except Infeasible as error:
        assert not possible
        assert error.exit_code == 3
    else:
        assert possible
        assert len(found) > 0
        assert (violations(costs, limits, found) == 0).all()


def test_one_impossible_limit_is_told_exactly(space: SearchSpace, costs: Costs) -> None:
    least = costs["latency@a"].evaluate(space.enumerate(10_000)).min()
    budget = ResolvedBudget("phone", {"latency@a": 0.9 * least, "macs": 1e9})
    with pytest.raises(Infeasible, match=r"budget 'phone'.*latency@a <= .* the smallest achievable is") as caught:
        feasible_networks(space, costs, budget)
    details = caught.value.details
    assert details["binding"] == "latency@a"
    assert details["smallest"]["latency@a"] == pytest.approx(least)
    assert details["proven"] is True
    nearest = Architecture.from_json(details["nearest"]["architecture"])
    row = space.encode([nearest])
    assert nearest.key in str(caught.value)
    assert costs["latency@a"].evaluate(row)[0] == pytest.approx(least)
    assert details["nearest"]["costs"]["macs"] == costs["macs"].evaluate(row)[0]


def test_limits_that_clash_are_proved_to(space: SearchSpace, costs: Costs) -> None:
    """A latency that falls as MACs grow: each limit alone is kept by many networks, both by none."""
    opposite = space.cost_of(lambda operator: 1e6 / operator.macs())
    both = {"macs": costs["macs"], "latency@a": opposite}
    everything = space.enumerate(10_000)
    values = {name: table.evaluate(everything) for name, table in both.items()}
    limits = {name: float(np.quantile(value, 0.02)) for name, value in values.items()}
    ratios = np.stack([values[name] / limit for name, limit in limits.items()]).max(axis=0)
    assert ratios.min() > 1.01, "the limits were meant to clash"
    with pytest.raises(Infeasible, match="together") as caught:
        feasible_networks(space, both, ResolvedBudget("b", limits))
    details = caught.value.details
    assert details["proven"] is True
    reached = details["nearest"]["costs"]
    assert max(reached[name] / limits[name] for name in limits) == pytest.approx(ratios.min(), rel=0.02)
    assert details["binding"] == max(limits, key=lambda name: reached[name] / limits[name])
    assert "would all have to grow by more than" in str(caught.value)


def test_just_below_the_front_nothing_is_left_and_the_least_is_told(space: SearchSpace, costs: Costs) -> None:
    """Where no weighted sum of the limits is exceeded there is a proof too, and how far one has to go for the other."""
    opposite = space.cost_of(lambda operator: 1e6 / operator.macs())
    both = {"macs": costs["macs"], "latency@a": opposite}
    everything = space.enumerate(10_000)
    values = {name: table.evaluate(everything) for name, table in both.items()}
    front = everything[pareto_front(values["macs"], -values["latency@a"])]
    for row in front[:: max(1, len(front) // 12)]:
        limits = {name: 0.999 * float(table.evaluate(row[None])[0]) for name, table in both.items()}
        kept = {name: values[name] <= limit for name, limit in limits.items()}
        assert not (kept["macs"] & kept["latency@a"]).any()
        with pytest.raises(Infeasible) as caught:
            feasible_networks(space, both, ResolvedBudget("b", limits))
        details = caught.value.details
        assert details["proven"] is True
        for name, other in (("macs", "latency@a"), ("latency@a", "macs")):
            told = details["least_within_the_others"][name]
            if kept[other].any():
                assert told == {"value": pytest.approx(values[name][kept[other]].min(), rel=1e-12), "exact": True}
                assert told["value"] > limits[name]
            else:
                assert told == {"value": None, "exact": True}
        binding = details["binding"]
        if details["least_within_the_others"][binding]["value"] is not None:
            assert f"the least {binding} is " in str(caught.value)


def test_published_space_answers_for_several_limits() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"})
    costs = {metric: space.cost(metric) for metric in ("macs", "params", "peak_memory", "flash")}
    limits = {name: 1.02 * table.minimum()[0] for name, table in costs.items()}
    found = feasible_networks(space, costs, ResolvedBudget("b", limits))
    assert (violations(costs, limits, found) == 0).all()
