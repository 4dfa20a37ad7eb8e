"""The least of a cost within limits, against brute force over whole spaces."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ofa.search.feasibility.least import Least, least
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.costs import CostTable
from search_spaces.operators import Operator

Costs = dict[str, CostTable]


def made_up(space: SearchSpace, seed: int, power: float = 0.5) -> CostTable:
    """A latency by operator that has little to do with any other cost: MACs to a power times a random factor."""
    rng, known = np.random.default_rng(seed), {}

    def value_of(operator: Operator) -> float:
        return known.setdefault(operator.key, float(operator.macs() + 1) ** power * float(np.exp(rng.normal())))

    return space.cost_of(value_of, constant=1.0)


def truth(costs: Mapping[str, CostTable], name: str, limits: Mapping[str, float], rows: np.ndarray) -> float:
    kept = np.ones(len(rows), dtype=bool)
    for other, limit in limits.items():
        if other != name:
            kept &= costs[other].evaluate(rows) <= limit
    return float(costs[name].evaluate(rows[kept]).min(initial=np.inf))


def check(found: Least, costs: Mapping[str, CostTable], limits: Mapping[str, float], rows: np.ndarray) -> float:
    """How much of the truth the answer is."""
    right = truth(costs, found.name, limits, rows)
    assert found.value <= right * (1 + 1e-12)
    if found.row is not None:
        assert all(costs[o].evaluate(found.row[None])[0] <= limit for o, limit in limits.items() if o != found.name)
        assert costs[found.name].evaluate(found.row[None])[0] >= right
    if found.exact:
        assert found.value == pytest.approx(right, rel=1e-12)
        assert (found.row is None) == np.isinf(right)
        assert found.row is None or costs[found.name].evaluate(found.row[None])[0] == pytest.approx(right, rel=1e-12)
    return found.value / right if np.isfinite(right) else 1.0


@pytest.fixture(scope="module")
def rows(space: SearchSpace) -> np.ndarray:
    return space.enumerate(10_000)


NAMES = ("macs", "peak_memory", "latency@a", "latency@b", "latency@c")


def costs_of(space: SearchSpace, seed: int) -> Costs:
    made = {
        f"latency@{device}": made_up(space, 3 * seed + i, p)
        for i, (device, p) in enumerate(zip("abc", (0.5, 0.5, -0.5), strict=True))
    }
    return {"macs": space.cost("macs"), "peak_memory": space.cost("peak_memory"), **made}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(NAMES),
    quantiles=st.dictionaries(st.sampled_from(NAMES), st.floats(0.0, 0.6), min_size=1, max_size=4),
)
def test_as_brute_force(
    space: SearchSpace, rows: np.ndarray, seed: int, name: str, quantiles: dict[str, float]
) -> None:
    """Limits are costs of networks, so that some are kept to the last bit."""
    costs = costs_of(space, seed)
    limits = {
        other: float(np.quantile(costs[other].evaluate(rows), q, method="lower")) for other, q in quantiles.items()
    }
    found = least(costs, name, limits)
    check(found, costs, limits, rows)
    assert found.exact


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    room=st.integers(1, 20),
    quantiles=st.dictionaries(st.sampled_from(NAMES[1:]), st.floats(0.0, 0.6), min_size=1, max_size=3),
)
def test_without_room_it_is_a_bound(
    space: SearchSpace, rows: np.ndarray, seed: int, room: int, quantiles: dict[str, float]
) -> None:
    costs = costs_of(space, seed)
    limits = {
        other: float(np.quantile(costs[other].evaluate(rows), q, method="lower")) for other, q in quantiles.items()
    }
    for name in ("macs", "peak_memory"):
        check(least(costs, name, limits, room=room), costs, limits, rows)


def test_a_bound_says_that_it_is_one(space: SearchSpace, rows: np.ndarray) -> None:
    told = set()
    for seed in range(8):
        costs = costs_of(space, seed)
        limits = {name: float(np.quantile(costs[name].evaluate(rows), 0.15)) for name in ("latency@a", "latency@c")}
        found = least(costs, "latency@b", limits, room=2)
        told |= {found.exact, "at least" in found.text()}
        assert found.exact != ("at least" in found.text()) or not np.isfinite(found.value)
    assert told == {True, False}


def test_a_space_too_large_to_list_is_answered_exactly() -> None:
    space = get_space({"name": "ofa_mobilenet_v3"})
    costs = costs_of(space, 0)
    limits = {}
    for name in ("latency@b", "latency@c"):
        low, high = costs[name].minimum()[0], costs[name].maximum()[0]
        limits[name] = low + 0.1 * (high - low)
    found = least(costs, "latency@a", limits)
    assert found.exact and found.row is not None
    assert found.value > costs["latency@a"].minimum()[0]
    sample = space.sample(20_000, np.random.default_rng(0))
    assert found.value <= truth(costs, "latency@a", limits, sample)
    assert all(costs[name].evaluate(found.row[None])[0] <= limit for name, limit in limits.items())


def test_unknown_costs(costs: Costs) -> None:
    with pytest.raises(UserError, match=r"unknown cost 'latency@z'. Did you mean 'latency@a'"):
        least(costs, "macs", {"latency@z": 1.0})


FAMILIES = ("mobilenet_v3_compound", "ofa_proxyless_nas", "ofa_resnet50", "autoformer_tiny", "mcuformer", "hybrid_nano")


def part_of(name: str, seed: int, most: int = 100_000) -> SearchSpace:
    """A random part of a space, of at most so many networks: genes lose options until it is."""
    space, rng = get_space({"name": name}), np.random.default_rng(seed)
    while space.size > most:
        gene = space.genes[rng.choice([i for i, gene in enumerate(space.genes) if len(gene.options) > 1])]
        kept = rng.choice(len(gene.options), size=max(1, len(gene.options) - 1), replace=False)
        space = space.restrict({gene.name: [gene.options[i] for i in sorted(kept)]})
    return space


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_spaces_of_up_to_a_hundred_thousand(name: str) -> None:
    rng = np.random.default_rng(0)
    for seed in range(3):
        space = part_of(name, seed)
        rows, costs = space.enumerate(100_000), costs_of(space, seed)
        for _ in range(6):
            wanted, *limited = rng.permutation(NAMES)[: rng.integers(2, 5)]
            limits = {
                o: float(np.quantile(costs[o].evaluate(rows), rng.uniform(0, 0.5), method="lower")) for o in limited
            }
            found = least(costs, str(wanted), limits)
            check(found, costs, limits, rows)
            assert found.exact
            check(least(costs, str(wanted), limits, room=10), costs, limits, rows)
