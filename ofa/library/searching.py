"""`ofa.search`: the most accurate networks within limits, by an evaluation of one's own or by a predictor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ofa.library.costs import Cost, KnownCosts
from ofa.library.evaluating import evaluate_in_loop
from ofa.search.algorithms.limits import Limits
from ofa.search.front import pareto_front, predicted_front
from ofa.search.run import search as search_predicted
from ofa.search.settings import SearchSettings
from predictors.base import Prediction, Predictor, load_predictor
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings

if TYPE_CHECKING:
    from ofa.search.budgets import ResolvedBudget
    from predictors.base import Predict
    from search_spaces.genome import Population

#: accuracy in 0..1 of one network, as its user finds it out
Evaluate: TypeAlias = Callable[[Architecture], float]


@dataclass(frozen=True)
class Candidate:
    """A network: its accuracy in 0..1 (evaluated, or as predicted) and all its costs in base units (ms, mJ, bytes)."""

    architecture: Architecture
    accuracy: float
    costs: dict[str, float]


@dataclass(frozen=True)
class SearchResult:
    """`best` and `front` keep the limits; the front is of accuracy against the limited costs (the MACs, if there are no
    limits), cheapest first. `history`: all networks that were evaluated, in that order; of a search by a predictor, the
    candidates, best first.
    """

    best: Candidate
    front: tuple[Candidate, ...]
    history: tuple[Candidate, ...]


def search(
    space: SearchSpace,
    *,
    evaluate: Evaluate | None = None,
    predictor: Predictor | Predict | Path | str | None = None,
    limits: Mapping[str, str | int | float] | None = None,
    costs: Mapping[str, Cost] | None = None,
    num_evaluations: int = 50,
    seed: int = 0,
    journal: Path | str | None = None,
    label: str = "",
    algorithm: str = "auto",
    quiet: bool = True,
) -> SearchResult:
    """The most accurate networks of `space` within `limits`, as `evaluate` (or else `predictor`) says.

    `evaluate(architecture)` gives an accuracy in 0..1 and is asked `num_evaluations` times, each network once: first of
    networks of all sizes, then of those that a predictor, fitted to what is known, has most hope for (the loop of
    `ofa search --evaluate`). With a `journal` (JSON lines) every answer is on file at once: the same call goes on where
    an earlier one was stopped, and one with more evaluations continues it. `label` says what `evaluate` is, a digest of
    the weights for example: a journal of another label is refused.

    `predictor` is a fitted one, its folder, or a function from a population (num, num_genes) to a `Prediction`; nothing
    is evaluated then.

    `limits`: `{"latency": "2ms", "macs": "10MMACs", "peak_memory": "30%"}`. `costs`: those the space does not know
    itself, by name: `{"latency": table}`, `{"latency@phone": table.cost(space)}`. `algorithm`: any of
    `ofa search --algorithm`. Raises `Infeasible` where no network keeps the limits, `UserError` for everything else.
    """
    if (evaluate is None) == (predictor is None):
        raise UserError("give either a function that evaluates a network, or a predictor", key="evaluate")
    known = KnownCosts.of(space, costs or {})
    budget = known.budget(limits or {})
    # the budget is given apart, in base units; what else a search has to be told are defaults
    settings = parse_settings(
        SearchSettings, {"budgets": {budget.name: {"macs": "100%"}}, "algorithm": algorithm}, prefix="search"
    )
    if evaluate is not None:
        rows, accuracies = evaluate_in_loop(
            space,
            evaluate,
            known.tables,
            budget,
            settings,
            num=num_evaluations,
            seed=seed,
            journal=None if journal is None else Path(journal),
            label=label,
            quiet=quiet,
        )
        front = None
    else:
        if journal is not None:
            raise UserError("is kept of evaluations, and a predictor needs none", key="journal", value=str(journal))
        predict = _bound(predictor, space)
        ranked = search_predicted(space, predict, known.tables, [budget], settings, seed=seed)[budget.name]
        rows, accuracies = ranked.population, ranked.prediction.mean
        front = _predicted_front(space, predict, known, budget, seed)
    return _result(space, known, budget, rows, accuracies, front)


def _bound(predictor: Any, space: SearchSpace) -> Predict:
    if isinstance(predictor, (str, Path)):
        predictor = load_predictor(predictor)
    if isinstance(predictor, Predictor):
        return predictor.bind(space)
    if not callable(predictor):
        raise UserError("is no predictor", key="predictor", value=type(predictor).__name__)

    def checked(population: Population) -> Prediction:
        found = predictor(population)
        if not isinstance(found, Prediction):
            raise UserError("gives no Prediction", key="predictor", value=type(found).__name__)
        return found

    return checked


def _predicted_front(
    space: SearchSpace, predict: Predict, known: KnownCosts, budget: ResolvedBudget, seed: int
) -> tuple[Candidate, ...]:
    limited = [known.tables[name] for name in budget.limits]
    within = Limits(known.tables, budget.limits)
    rows = predicted_front(space, predict, limited, seed=seed, violation=within)
    return _candidates(space, known, rows, predict(rows).mean)


def _result(
    space: SearchSpace,
    known: KnownCosts,
    budget: ResolvedBudget,
    rows: Population,
    accuracies: Any,
    front: tuple[Candidate, ...] | None,
) -> SearchResult:
    history = _candidates(space, known, rows, accuracies)
    kept = np.flatnonzero(Limits(known.tables, budget.limits)(rows) == 0)
    if not len(kept):  # a journal of a search within other limits
        raise UserError("none of the networks evaluated keeps the limits", hint="Give more num_evaluations")
    best = history[int(kept[np.argmax(accuracies[kept])])]
    if front is None:
        costs = np.stack([known.tables[name].evaluate(rows[kept]) for name in budget.limits], axis=1)
        front = tuple(history[int(i)] for i in kept[pareto_front(costs, accuracies[kept])])
    return SearchResult(best=best, front=front, history=history)


def _candidates(space: SearchSpace, known: KnownCosts, rows: Population, accuracies: Any) -> tuple[Candidate, ...]:
    costs = {name: table.evaluate(rows) for name, table in known.tables.items()}
    return tuple(
        Candidate(architecture, float(accuracies[i]), known.names({name: float(v[i]) for name, v in costs.items()}))
        for i, architecture in enumerate(space.decode(rows))
    )
