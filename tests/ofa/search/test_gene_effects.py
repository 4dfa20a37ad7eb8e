"""Explanations by gene add up, and say the same whatever the order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa.search.gene_effects import effects_facts, gene_effects
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.costs import CostTable

NAMES = ("mobilenet_v3_digits", "mobilenet_v3_compound", "ofa_resnet50", "vit_nano", "hybrid_nano")
SPACES: dict[str, tuple[SearchSpace, list[CostTable]]] = {}


def costs_of(name: str) -> tuple[SearchSpace, list[CostTable]]:
    if name not in SPACES:
        space = get_space({"name": name})
        latency = space.cost_of(lambda operator: 0.1 + 1e-7 * operator.macs() ** 0.93, constant=0.3)
        SPACES[name] = space, [space.cost(m) for m in ("macs", "params", "flash", "peak_memory")] + [latency]
    return SPACES[name]


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32 - 1))
def test_effects_add_up_to_the_predicted_cost(name: str, seed: int) -> None:
    space, costs = costs_of(name)
    row = space.sample(1, np.random.default_rng(seed))[0]
    for table in costs:
        found = gene_effects(table, row)
        assert found.cost == table.evaluate(row[None])[0]
        assert found.reference_cost == table.evaluate(found.reference[None])[0] == table.minimum()[0]
        total = math.fsum([found.reference_cost, found.elsewhere, *found.effects])
        assert total == pytest.approx(found.cost, rel=1e-13)
        switched_off = ~space.active(row[None])[0]
        assert not np.array(found.effects)[switched_off].any()
        assert found.elsewhere <= 0 and (table.reduce == "max" or found.elsewhere == 0)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_they_are_the_average_over_all_orders(seed: int) -> None:
    """Against the definition, on networks that differ from the cheapest in five genes."""
    space, costs = costs_of("mobilenet_v3_compound")
    table, rng = costs[-1], np.random.default_rng(seed)
    reference = table.minimum()[1]
    row = space.largest()
    same = rng.permutation(np.flatnonzero(row != reference))[5:]
    row = space.canonical(np.where(np.isin(np.arange(len(row)), same), reference, row)[None])[0]
    changed = [gene for gene in range(len(row)) if row[gene] != reference[gene]]
    expected = np.zeros(len(row))
    orders = list(itertools.permutations(changed))
    for order in orders:
        mixed, before = reference.copy(), table.evaluate(reference[None])[0]
        for gene in order:
            mixed[gene] = row[gene]
            after = table.evaluate(mixed[None])[0]
            expected[gene] += (after - before) / len(orders)
            before = after
    assert np.array(gene_effects(table, row).effects) == pytest.approx(expected, abs=1e-9)


def test_the_cheapest_network_needs_no_explanation() -> None:
    for name in NAMES:
        for table in costs_of(name)[1]:
            found = gene_effects(table, table.minimum()[1])
            assert not any(found.effects)
            assert found.cost == found.reference_cost + found.elsewhere


def test_as_json_with_the_options_by_name() -> None:
    space, costs = costs_of("mobilenet_v3_digits")
    row = space.largest()
    facts = effects_facts(space, {"macs": costs[0], "peak_memory": costs[3]}, row)
    assert set(facts) == {"macs", "peak_memory"}
    macs = facts["macs"]
    reference = Architecture.from_json(macs["reference"]["architecture"])
    assert costs[0].evaluate(space.encode([reference]))[0] == macs["reference"]["cost"]
    by_gene = {entry["gene"]: entry for entry in macs["genes"]}
    assert by_gene["resolution"]["option"] > by_gene["resolution"]["reference"]
    assert by_gene["resolution"]["effect"] > 0
    assert sum(entry["effect"] for entry in macs["genes"]) == pytest.approx(macs["cost"] - macs["reference"]["cost"])
    assert facts["peak_memory"]["slot"] in costs[3].slots
