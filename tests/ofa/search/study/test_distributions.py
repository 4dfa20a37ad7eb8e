from __future__ import annotations

from functools import cache

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution

from ofa.search.study.distributions import distribution, distributions, params, row_of, suggest
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.genome import Gene
from search_spaces.registry import list_spaces


@cache
def named(name: str) -> SearchSpace:
    return get_space({"name": name})


@pytest.mark.parametrize("name", list_spaces())
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_network_survives_the_way_to_optuna_and_back(name: str, seed: int) -> None:
    space = named(name)
    row = space.sample(1, np.random.default_rng(seed))[0]
    values, own = params(space, row), distributions(space, row)
    assert set(values) == set(own)
    on = space.active(row[None])[0]
    assert list(values) == [gene.name for gene, active in zip(space.genes, on, strict=True) if active]
    for gene_name, value in values.items():  # what a storage keeps is the internal form
        assert own[gene_name].to_external_repr(own[gene_name].to_internal_repr(value)) == value
    assert np.array_equal(row_of(space, values), row)
    assert np.array_equal(row_of(space, params(space, row, only_active=False)), row)
    trial = optuna.trial.FixedTrial(values)  # an unexpected question is an error
    assert np.array_equal(suggest(trial, space), row)
    assert set(trial.params) == set(values)
    optuna.trial.create_trial(value=0.0, params=values, distributions=own)


def test_genes_that_are_off_are_not_suggested(space: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(30):
        trial = study.ask()
        row = suggest(trial, space)
        assert np.array_equal(row, space.canonical(row[None])[0])
        assert set(trial.params) == set(params(space, row))
        seen.add(frozenset(trial.params))
    assert len(seen) == 4  # two stages of one or two blocks


def test_distributions_fit_the_options() -> None:
    assert distribution(Gene.simple("kernel", (3, 5, 7))) == IntDistribution(3, 7, step=2)
    assert distribution(Gene.simple("width", (16, 24))) == IntDistribution(16, 24, step=8)
    for options in ((3, 4, 6), (7, 5, 3), (0.5, 1), ("softmax", "linear"), (224,), (False, True)):
        assert distribution(Gene.simple("gene", options)) == CategoricalDistribution(options)


def test_parameters_of_no_network_are_refused(space: SearchSpace) -> None:
    row = space.largest()
    values = params(space, row)
    name = next(iter(values))
    with pytest.raises(UserError, match=f"{name}: not an option"):
        row_of(space, values | {name: 999})
    del values[name]
    with pytest.raises(UserError, match=f"{name}: a network of .* needs a value of this gene"):
        row_of(space, values)
