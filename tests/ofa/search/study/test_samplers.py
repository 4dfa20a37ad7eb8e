from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from ofa.search.study.fresh import fresh_rows
from ofa.search.study.proposer import History, Proposer
from ofa.search.study.samplers import SAMPLERS, make_proposer
from ofa.search.study.terms import Terms
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError


def history_of(tabular: ModuleType, terms: Terms, num: int, *, num_pending: int = 2, stream: int = 0) -> History:
    drawn = np.unique(terms.space.sample(400, np.random.default_rng(1)), axis=0)
    kept = np.random.default_rng(2).permutation(drawn[terms.keeps(drawn)])[: num + num_pending]
    accuracies = np.array([tabular.accuracy_of(terms.space, row) for row in kept[:num]])
    return History(kept[:num], accuracies, kept[num:], (0, num, num_pending, stream))


@pytest.mark.parametrize(
    ("name", "objectives"),
    [
        pytest.param(name, objectives, marks=[pytest.mark.slow] if name == "gp" and len(objectives) > 1 else [])
        for name in SAMPLERS
        for objectives in (("accuracy",), ("accuracy", "macs", "peak_memory"))
    ],
)
def test_a_proposal_follows_from_the_history(
    tabular: ModuleType, space: SearchSpace, terms: Terms, name: str, objectives: tuple[str, ...]
) -> None:
    terms = Terms(space, terms.weights_sha256, terms.costs, terms.limits, objectives)
    history = history_of(tabular, terms, 12 if name == "gp" else 24)
    proposer = make_proposer(name, terms, seed=3)
    num = 1 if name == "gp" else 2
    proposed = proposer.propose(history, num)
    assert proposed.shape == (num, space.num_genes)
    assert np.array_equal(proposed, space.canonical(proposed))
    assert (proposed < space.genome.num_options).all()
    again = make_proposer(name, terms, seed=3).propose(history, num)  # another process
    assert np.array_equal(proposed, again)
    nothing = History(history.population[:0], history.accuracies[:0], history.pending[:0], (0, 0, 0, 0))
    assert len(proposer.propose(nothing, 1)) == 1


def progress(tabular: ModuleType, terms: Terms, proposer: Proposer, num: int) -> np.ndarray:
    """Accuracies of a study by one worker, without a storage."""
    space, anchors = terms.space, terms.costs["macs"].minimum()[1][None]
    population, accuracies = np.zeros((0, space.num_genes), dtype=np.int64), np.zeros(0)
    for step in range(num):
        history = History(population, accuracies, population[:0], (0, step, 0, 0))
        rng = np.random.default_rng(step)
        proposed = proposer.propose(history, 1)
        row = fresh_rows(space, proposed, population, keeps=terms.keeps, anchors=anchors, rng=rng)
        population = np.concatenate([population, row])
        accuracies = np.append(accuracies, tabular.accuracy_of(space, row[0]))
    assert len(np.unique(population, axis=0)) == num
    assert terms.keeps(population).all()
    return accuracies


@pytest.mark.parametrize(
    ("name", "num"),
    [
        ("tpe", 40),
        ("nsga2", 80),
        pytest.param("nsga3", 80, marks=pytest.mark.slow),
        pytest.param("gp", 24, marks=pytest.mark.slow),
    ],
)
def test_samplers_learn(tabular: ModuleType, terms: Terms, name: str, num: int) -> None:
    found = progress(tabular, terms, make_proposer(name, terms, seed=0), num)
    random = progress(tabular, terms, make_proposer("random", terms, seed=0), num)
    late = found[-num // 4 :]
    assert late.mean() > random.mean() + 3 * random.std() / np.sqrt(len(late))


def test_an_unknown_sampler_is_named(terms: Terms) -> None:
    with pytest.raises(UserError, match=r"--sampler: unknown sampler 'nsgaii'.*Did you mean 'nsga.'.*random"):
        make_proposer("nsgaii", terms, seed=0)
