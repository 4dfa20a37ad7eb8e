"""Optuna's samplers as proposers: each is shown the study so far in memory, and asked for more.

What is shown is rebuilt from the history for every proposal, with random numbers seeded by it. So a worker that is
killed goes on as if nothing had happened, all workers learn from all results, and no sampler writes to the storage.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from ofa.search.algorithms.row_set import RowSet
from ofa.search.study.distributions import all_distributions, params, row_of, suggest
from search_spaces.common.errors import UserError, unknown_name

if TYPE_CHECKING:
    from ofa.search.study.proposer import History, Proposer
    from ofa.search.study.terms import Terms
    from search_spaces.genome import Population

ConstraintsFunc = Callable[[FrozenTrial], Sequence[float]]
MakeSampler = Callable[[int, ConstraintsFunc], BaseSampler]

#: Networks in a generation of NSGA-II and NSGA-III: evaluations are dear, so it is small.
_GENERATION = 20


@dataclass(frozen=True)
class _Kind:
    """A sampler of Optuna and how it wants to be treated."""

    make: MakeSampler
    all_genes: bool = False
    """Samples jointly only parameters that every trial has (all but TPE do), so it is shown a value of every gene."""
    generation_key: str | None = None
    """A genetic algorithm: the attribute that tells which generation a trial belongs to."""
    tries: int = 8
    """How often it is asked again when it proposes what is over a limit, or known."""


def _tpe(seed: int, constraints_func: ConstraintsFunc) -> BaseSampler:
    """Bergstra et al., 2011, https://papers.nips.cc/paper/4443; pending networks count as bad ones, so that workers
    spread out. `group` models together the genes that are on together (Falkner et al., 2018,
    https://arxiv.org/abs/1807.01774).
    """
    return optuna.samplers.TPESampler(
        seed=seed, multivariate=True, group=True, constant_liar=True, constraints_func=constraints_func
    )


def _nsga2(seed: int, constraints_func: ConstraintsFunc) -> BaseSampler:
    """Deb et al., 2002, https://doi.org/10.1109/4235.996017."""
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=_GENERATION, constraints_func=constraints_func)


def _nsga3(seed: int, constraints_func: ConstraintsFunc) -> BaseSampler:
    """Deb and Jain, 2014, https://doi.org/10.1109/TEVC.2013.2281535."""
    return optuna.samplers.NSGAIIISampler(seed=seed, population_size=_GENERATION, constraints_func=constraints_func)


def _gp(seed: int, constraints_func: ConstraintsFunc) -> BaseSampler:
    """A Gaussian process, see https://optuna.readthedocs.io/en/stable/reference/samplers: seconds a proposal."""
    return optuna.samplers.GPSampler(seed=seed, constraints_func=constraints_func)


_KINDS = {
    "tpe": _Kind(_tpe),
    "nsga2": _Kind(_nsga2, all_genes=True, generation_key="NSGAIISampler:generation"),
    "nsga3": _Kind(_nsga3, all_genes=True, generation_key="NSGAIIISampler:generation"),
    "gp": _Kind(_gp, all_genes=True, tries=2),
}

SAMPLERS = (*_KINDS, "random")


def make_proposer(name: str, terms: Terms, *, seed: int, key: str = "--sampler") -> Proposer:
    """A sampler by name. Raises `UserError` for an unknown one."""
    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS, key=key)
    return RandomProposer(terms, seed=seed) if name == "random" else OptunaProposer(name, terms, seed=seed)


class RandomProposer:
    """Uniform over distinct networks that keep the limits (drawn again while they do not, as long as that is cheap)."""

    def __init__(self, terms: Terms, *, seed: int) -> None:
        self._terms, self._seed = terms, seed

    def propose(self, history: History, num: int) -> Population:
        rng = np.random.default_rng([self._seed, *history.stream])
        drawn = self._terms.space.sample(64 * num, rng)
        kept = drawn[self._terms.keeps(drawn)]
        return np.concatenate([kept, drawn])[:num]


class OptunaProposer:
    """One of Optuna's samplers over the genes of a space."""

    def __init__(self, name: str, terms: Terms, *, seed: int) -> None:
        self._kind, self._terms, self._seed = _KINDS[name], terms, seed
        self._distributions = all_distributions(terms.space)
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # a line for every study in memory

    def propose(self, history: History, num: int) -> Population:
        space = self._terms.space
        rng = np.random.default_rng([self._seed, *history.stream])
        known = RowSet(space.num_genes)
        known.add(np.concatenate([history.population, history.pending]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # experimental arguments; `constraints_func`, which older versions need
            study = self._shown(history, int(rng.integers(2**31)))
            found = [self._next(study, known) for _ in range(num)]
        return np.stack(found) if found else np.zeros((0, space.num_genes), dtype=np.int64)

    def _next(self, study: optuna.Study, known: RowSet) -> Population:
        """The first proposal within the limits that is new; if there is none in a few tries, the last."""
        for _ in range(self._kind.tries):
            trial = study.ask(self._distributions if self._kind.all_genes else None)
            row = row_of(self._terms.space, trial.params) if self._kind.all_genes else suggest(trial, self._terms.space)
            if not self._terms.keeps(row[None])[0]:
                # TPE learns from the exact excess; the others only from networks that have a value
                study.tell(trial, state=TrialState.PRUNED if not self._kind.all_genes else TrialState.FAIL)
            elif len(known.add(row[None])):
                break
            else:
                study.tell(trial, state=TrialState.FAIL)
        return row

    def _shown(self, history: History, seed: int) -> optuna.Study:
        """The study so far, in memory."""
        directions = ["maximize", *("minimize" for _ in self._terms.objectives[1:])]
        sampler = self._kind.make(seed, self._excess)
        study = optuna.create_study(directions=directions, sampler=sampler)
        population = np.concatenate([history.population, history.pending])
        excess = self._terms.excess(population).tolist()
        costs = [self._terms.costs[name].evaluate(history.population) for name in self._terms.objectives[1:]]
        values = np.stack([history.accuracies, *costs], axis=1).tolist()
        if self._kind.generation_key is not None:  # else a child that switches a block on always gets the same block
            space, rng = self._terms.space, np.random.default_rng(seed)
            spare = rng.integers(space.genome.num_options, size=population.shape)
            population = np.where(space.active(population), population, spare)
        for number, row in enumerate(population):
            study.add_trial(self._trial(row, number, excess[number], values[number] if number < len(values) else None))
        return study

    def _trial(self, row: Population, number: int, excess: list[float], values: list[float] | None) -> FrozenTrial:
        kind = self._kind
        attributes: dict[str, Any] = {"constraints": excess}
        if kind.generation_key is not None:
            attributes[kind.generation_key] = number // _GENERATION
        genes = params(self._terms.space, row, only_active=not kind.all_genes)
        return optuna.trial.create_trial(
            state=TrialState.RUNNING if values is None else TrialState.COMPLETE,
            values=values,
            params=genes,
            distributions={name: self._distributions[name] for name in genes},
            system_attrs=attributes,
        )

    def _excess(self, trial: FrozenTrial) -> Sequence[float]:
        try:
            return self._terms.constraints(row_of(self._terms.space, trial.params))
        except UserError:  # asked, and never suggested
            return ()
