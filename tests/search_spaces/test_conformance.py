"""What every registered space must keep: its genome, its exact costs and its supernet, each against an independent
count. A new space is certified by being in the registry.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from search_spaces import SearchSpace, get_space, list_spaces
from search_spaces.operators import METRICS, Operator

COSTS = [
    ("macs", "float32"),
    ("params", "float32"),
    *((m, d) for m in ("flash", "peak_memory") for d in ("float32", "float16", "int8")),
]


@pytest.fixture(scope="module", params=[0, 1, pytest.param(2, marks=pytest.mark.slow)])
def tiny(request, space, helpers) -> SearchSpace:
    return helpers.cut_down(space, 300, seed=request.param)


# -- genome ------------------------------------------------------------------------------------------------------------


def test_size_equals_brute_force(tiny, helpers):
    rows = tiny.enumerate()
    expected = helpers.brute_force(tiny)
    assert tiny.size == len(rows) == len(expected)
    assert set(tiny.decode(rows)) == expected


def test_decode_and_encode_are_inverse(space):
    rng = np.random.default_rng(1)
    for uniform in (True, False):
        rows = space.sample(100, rng, uniform=uniform)
        architectures = space.decode(rows)
        assert np.array_equal(space.encode(architectures), rows)
        assert [type(a).from_json(json.loads(json.dumps(a.to_json()))) for a in architectures] == architectures


def test_variation_stays_in_the_space(space):
    rng = np.random.default_rng(2)
    first, second = space.sample(200, rng), space.sample(200, rng)
    for rows in (space.mutate(first, rng, 0.3), space.crossover(first, second, rng)):
        assert np.array_equal(space.canonical(rows), rows)
        assert ((rows >= 0) & (rows < space.genome.num_options)).all()


def test_description_round_trip(space, helpers):
    part = helpers.part_of(space, 0)
    for one in (space, part, helpers.cut_down(part, 1000, 1)):
        again = SearchSpace.from_description(json.loads(json.dumps(one.description)))
        rows = one.sample(20, np.random.default_rng(0))
        assert (again.size, again.genes, again.fingerprint) == (one.size, one.genes, space.fingerprint)
        assert again.decode(rows) == one.decode(rows)
        assert [again.network(a) for a in again.decode(rows)] == [one.network(a) for a in one.decode(rows)]
        assert again.description == one.description


def test_restrict_gives_networks_of_the_parent(space, helpers):
    for seed in range(3):
        part = helpers.part_of(space, seed)
        assert 1 <= part.size <= space.size
        rows = part.sample(30, np.random.default_rng(seed))
        architectures = part.decode(rows)
        parent_rows = space.encode(architectures)
        assert space.decode(parent_rows) == architectures
        assert [part.network(a) for a in architectures] == [space.network(a) for a in architectures]
        assert set(part.operators()) <= set(space.operators())
        for metric in METRICS:
            assert np.array_equal(part.cost(metric).evaluate(rows), space.cost(metric).evaluate(parent_rows))


@pytest.mark.parametrize("name", list_spaces())
def test_full_size_space_is_usable(name):
    """As shipped, without cutting down: sampling, operators and extremes of the real thing."""
    space = get_space({"name": name})
    rows = space.sample(64, np.random.default_rng(0))
    keys = {operator.key for a in space.decode(rows) for _, operator in space.network(a)}
    assert keys <= set(space.operators())
    for metric in METRICS:
        cost = space.cost(metric)
        values = cost.evaluate(rows)
        assert cost.minimum()[0] <= values.min() <= values.max() <= cost.maximum()[0]


# -- costs -------------------------------------------------------------------------------------------------------------


def test_operators_are_the_keys_of_all_networks(tiny):
    by_slot: dict[str, dict[str, Operator]] = {slot.name: {} for slot in tiny.slots}
    for architecture in tiny.decode(tiny.enumerate()):
        for slot, operator in tiny.network(architecture):
            by_slot[slot][operator.key] = operator
    assert {key: operator for operators in by_slot.values() for key, operator in operators.items()} == tiny.operators()
    for slot in tiny.slots:
        assert {operator.key: operator for operator in tiny.slot_operators(slot)} == by_slot[slot.name]


@pytest.mark.parametrize(("metric", "dtype"), COSTS)
def test_evaluate_is_the_reduction_over_the_operators(space, metric, dtype):
    rows = space.sample(40, np.random.default_rng(3))
    formula, reduce = METRICS[metric]
    expected = [
        {"sum": sum, "max": max}[reduce](
            formula(operator, dtype, "naive") for _, operator in space.network(architecture)
        )
        for architecture in space.decode(rows)
    ]
    assert space.cost(metric, dtype).evaluate(rows).tolist() == expected


def tables(space, seed):
    """Costs of all kinds: the exact ones, and random values per operator (with a constant, sums and maxima)."""
    yield from (space.cost(metric, dtype) for metric, dtype in COSTS)
    rng = np.random.default_rng(seed)
    for reduce, constant in (("sum", 0.0), ("sum", 0.3), ("max", 0.0), ("max", 2.0)):
        values = {key: float(rng.gamma(1.0)) for key in space.operators()}
        yield space.cost_of(lambda operator, values=values: values[operator.key], reduce, constant=constant)


def test_explanations_add_up_exactly(space):
    rows = space.sample(25, np.random.default_rng(4))
    names = {slot.name for slot in space.slots} | {"overhead"}
    for cost in tables(space, 0):
        for row, value in zip(rows, cost.evaluate(rows), strict=True):
            parts = cost.explain(row)
            assert {name for name, _ in parts} <= names
            numbers = [part for _, part in parts]
            assert (sum(numbers) if cost.reduce == "sum" else max(numbers)) == value


def test_extremes_equal_brute_force(tiny):
    rows = tiny.enumerate()
    for cost in tables(tiny, 1):
        values = cost.evaluate(rows)
        for (value, row), expected in ((cost.minimum(), values.min()), (cost.maximum(), values.max())):
            assert value == pytest.approx(expected, rel=1e-12)
            assert value == cost.evaluate(row[None])[0]
            assert np.array_equal(tiny.canonical(row[None])[0], row)
    macs = tiny.cost("macs").evaluate(np.array([*rows, tiny.smallest(), tiny.largest()]))
    assert (macs[-2], macs[-1]) == (macs.min(), macs.max())
