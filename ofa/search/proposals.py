"""Which networks to evaluate next, as a predictor fitted to those evaluated so far sees it: the predictor loop.

Goals take turns: the best network within each budget, and the front of accuracy against each cost. For each proposal
the predictor is believed as far as a draw of |N(0, 1)| standard deviations above its mean, so that some proposals
exploit what it knows and others try what it is unsure of (upper confidence bounds with randomised widths: J. Berk,
S. Gupta, S. Rana, S. Venkatesh, "Randomised Gaussian process upper confidence bound for Bayesian optimisation", IJCAI
2020). On a front, the network counts that adds most hypervolume to what is known (M. Emmerich, "Single- and
multiobjective evolutionary optimization assisted by Gaussian random field metamodels", 2005), which spreads proposals
along it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import violations
from ofa.search.algorithms.row_set import RowSet
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import pareto_front, predicted_front
from ofa.search.run import search_budget
from predictors.base import Predict, Prediction
from predictors.sampling import record_list

if TYPE_CHECKING:
    from ofa.search.budgets import ResolvedBudget
    from ofa.search.settings import SearchSettings
    from ofa.search.study.proposer import History
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

#: Networks that are evaluated before a predictor is fitted.
FIRST = 12

#: Networks ranked by a goal before those that are known are left out.
_CANDIDATES = 64

#: Of a front: up to so many networks are listed, larger spaces searched so thoroughly (one network of it is wanted).
_LISTED, _GENERATIONS, _POPULATION = 20_000, 40, 128


@dataclass(frozen=True)
class Known:
    """Networks (num, num_genes), their accuracies (num,) in 0..1, and for each the name of those drawn with it."""

    population: Population
    accuracies: Floats
    groups: tuple[str, ...]


class Fit(Protocol):
    """Fits a predictor, one that tells intervals."""

    def __call__(self, known: Known) -> Predict: ...


@dataclass(frozen=True)
class PredictorProposals:
    """Proposes from the history alone (see `study.proposer.Proposer`).

    `budgets` that want a winner each, `fronts` the names of costs to trade accuracy against; at least one of the two.
    """

    space: SearchSpace
    costs: Mapping[str, CostTable]
    budgets: Sequence[ResolvedBudget]
    fronts: Sequence[str]
    settings: SearchSettings
    fit: Fit
    known: Callable[[], Known] | None = None
    """What was evaluated before the history begins, and may be proposed by nobody."""
    seed: int = 0

    def propose(self, history: History, num: int) -> Population:
        """Up to `num` networks that are neither known nor pending; goals take turns."""
        known_now, pending = self._all_known(history), history.pending
        population = known_now.population
        rng = np.random.default_rng([self.seed, len(history), *history.stream])
        known = RowSet(self.space.num_genes)
        known.add(population)
        known.add(pending)
        if len(population) < FIRST:
            listed = record_list(
                self.space, len(population) + len(pending) + num, seed=self.seed, sampling="stratified"
            )
            return listed[known.new(listed)][:num]
        predict = self.fit(known_now)
        goals: list[ResolvedBudget | str] = [*self.budgets, *self.fronts]
        rows = [population[:0]]
        turn = (len(history) + len(pending)) % len(goals)
        base = np.concatenate([population, pending])
        for offset in range(num):
            goal = goals[(turn + offset) % len(goals)]
            hopeful = _Hopeful(predict, abs(float(rng.standard_normal())))
            found = (
                self._on_front(goal, hopeful, predict, base, rng)
                if isinstance(goal, str)
                else self._within(goal, hopeful, rng)
            )
            new = found[known.add_first(found)[:1]] if len(found) else found
            rows.append(new)
            base = np.concatenate([base, new])
        return np.concatenate(rows)

    def _all_known(self, history: History) -> Known:
        """What was known before, and the history: each network once."""
        before = Known(history.population[:0], history.accuracies[:0], ()) if self.known is None else self.known()
        first = RowSet(self.space.num_genes)
        first.add(before.population)
        new = first.new(history.population)
        rows = history.population[new]
        return Known(
            np.concatenate([before.population, rows]),
            np.concatenate([before.accuracies, history.accuracies[new]]),
            (*before.groups, *(architecture.key for architecture in self.space.decode(rows))),
        )

    def _within(self, budget: ResolvedBudget, hopeful: _Hopeful, rng: np.random.Generator) -> Population:
        """Networks that keep the budget, best first."""
        settings = self.settings.model_copy(update={"candidates": _CANDIDATES})
        return search_budget(
            self.space,
            hopeful,
            self.costs,
            budget,
            settings,
            seed=int(rng.integers(2**31)),
            start=self._starts[budget.name],
        ).population

    @cached_property
    def _starts(self) -> dict[str, Population]:
        return {b.name: feasible_networks(self.space, self.costs, b, seed=self.seed) for b in self.budgets}

    def _on_front(
        self, cost: str, hopeful: _Hopeful, predict: Predict, base: Population, rng: np.random.Generator
    ) -> Population:
        """Networks of the hopeful front, those first that would add most to the front of what is known as predicted."""
        table = self.costs[cost]
        front = predicted_front(
            self.space,
            hopeful,
            table,
            num_samples=_LISTED,
            generations=_GENERATIONS,
            population=_POPULATION,
            seed=int(rng.integers(2**31)),
            violation=self._excess if self.budgets else None,
        )
        gains = hypervolume_gains(
            np.log(table.evaluate(base)),
            predict(base).mean,
            np.log(table.evaluate(front)),
            hopeful(front).mean,
            worst_cost=float(np.log(table.maximum()[0])),
        )
        return front[np.argsort(-gains, kind="stable")]

    def _excess(self, rows: Population) -> Floats:
        """(num,) how far networks are from the budget that is nearest to them; 0 within any."""
        return np.min([violations(self.costs, budget.limits, rows) for budget in self.budgets], axis=0)


@dataclass(frozen=True)
class _Hopeful:
    """A predictor whose means are so many standard deviations (those of a normal 90 % interval) higher."""

    predict: Predict
    deviations: float

    def __call__(self, population: Population) -> Prediction:
        prediction = self.predict(population)
        lower, upper = prediction.ends
        return Prediction(prediction.mean + self.deviations * (upper - lower) / (2 * 1.645))


def hypervolume_gains(
    costs: Floats, values: Floats, new_costs: Floats, new_values: Floats, *, worst_cost: float
) -> Floats:
    """(num_new,) area that each new point adds to the one dominated by (num,) points: lower cost, higher value.

    The area is bounded by `worst_cost` and by the worst value among the known points.
    """
    front = pareto_front(costs, values)
    steps, heights = costs[front], values[front]  # ascending both
    floor = float(values.min())
    left = np.concatenate([[-np.inf], steps])
    right = np.concatenate([steps, [worst_cost]])
    level = np.concatenate([[floor], heights])
    width = np.maximum(right[None] - np.maximum(left[None], new_costs[:, None]), 0.0)
    height = np.maximum(new_values[:, None] - level[None], 0.0)
    return np.asarray((width * height).sum(axis=1))
