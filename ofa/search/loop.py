"""The predictor loop of a run: propose with the predictor, evaluate for real, fit again; then winners as ever.

Every evaluation is a line of the records file, so nothing is thrown away: a loop that was stopped goes on where it was,
a larger one continues a smaller one, and other workers (torchrun ranks, other machines) share it through the storage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.search.proposals import Fit, Known, PredictorProposals
from ofa.search.stage import Learned, Problem, load_problem, search_run
from predictors.base import Predict
from predictors.fit import fit_records
from predictors.record_file import Records, load_records
from predictors.records import process_of
from predictors.refit import Refitter
from predictors.settings import Origin, PredictorSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from ofa.search.budgets import Budget
    from ofa.search.study.proposer import History, Proposer
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

#: The sampler that is this loop, beside those of Optuna.
PREDICTOR = "predictor"

#: Networks proposed from one fit.
_BATCH = 4

#: Told what a round begins with.
OnRound = Callable[[Problem], None]

_SEARCH: tuple[Origin, ...] = ("search",)


def fit_history(space: SearchSpace, settings: PredictorSettings, *, seed: int = 0) -> Fit:
    """Fits a predictor of `space` to what a search has seen, in the order it was seen (see `predictors.refit`)."""
    refitter = Refitter(space, settings.model_copy(update={"origins": ("search",)}), seed=seed)

    def fit(known: Known) -> Predict:
        num = len(known.population)
        records = Records(
            population=known.population,
            accuracies=known.accuracies,
            losses=np.full(num, np.inf),
            keys=tuple(architecture.key for architecture in space.decode(known.population)),
            origins=_SEARCH * num,
            groups=known.groups,
        )
        return refitter.update(records).bind(space)

    return fit


def loop_proposer(problem: Problem, *, seed: int) -> Proposer:
    """The proposer of a run: a winner for every budget of the problem, and the front of every cost they limit."""
    costs = tuple(dict.fromkeys(name for budget in problem.budgets for name in budget.limits))
    return PredictorProposals(
        problem.space,
        problem.costs,
        problem.budgets,
        costs,
        problem.config.search,
        fit_history(problem.space, problem.config.predictor, seed=seed),
        known=partial(_sampled, problem),
        seed=seed,
    )


@dataclass(frozen=True)
class _Telling:
    """A proposer that says so before it is asked."""

    proposer: Proposer
    tell: Callable[[], None]

    def propose(self, history: History, num: int) -> Population:
        self.tell()
        return self.proposer.propose(history, num)


def _telling(on_round: OnRound | None, problem: Problem, *, seed: int) -> Proposer:
    proposer = loop_proposer(problem, seed=seed)
    return proposer if on_round is None else _Telling(proposer, partial(on_round, problem))


def _sampled(problem: Problem) -> Known:
    """What `ofa records` had evaluated: the loop does not begin from nothing."""
    records = _records(problem).of(("sampled",))
    return Known(records.population, records.accuracies, records.group_names)


def evaluate_more(
    run: Path,
    config: RunConfig,
    *,
    num: int,
    budget: Budget | None = None,
    sampler: str = PREDICTOR,
    objectives: tuple[str, ...] = ("accuracy",),
    storage: str | None = None,
    study: str | None = None,
    on_round: OnRound | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Bring a study of the run to `num` networks that were evaluated for real; its results as JSON-like facts.

    Left out, the storage is a journal in the run's folder and the study is named after the sampler and the budgets, so
    that the same command goes on where it was. `on_round` is told whenever the loop proposes anew.
    """
    from ofa.search.study.run import run_study

    problem = load_problem(run, config, budget=budget)
    limits = [[one.name, one.limits] for one in problem.budgets]
    what = limits if len(objectives) == 1 else [limits, list(objectives)]
    return run_study(
        run,
        config,
        storage=storage or f"journal:{run / 'studies.journal'}",
        study_name=study or f"{sampler}-{digest(what)[:8]}",
        num=num,
        sampler=partial(_telling, on_round) if sampler == PREDICTOR else sampler,
        budget=budget,
        objectives=objectives,
        batch=_BATCH if sampler == PREDICTOR else 1,
        quiet=quiet,
    )


def search_evaluating(
    run: Path,
    config: RunConfig,
    *,
    num: int | None = None,
    budget: Budget | None = None,
    storage: str | None = None,
    study: str | None = None,
    on_round: OnRound | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """`search_run`, after `num` networks (None: `search.evaluate` of the config) were evaluated for real in the loop.

    Winners are named by a predictor fitted to what was sampled and what the loop evaluated. Under torchrun every
    process evaluates, and only the first names winners: the others return the results of the study.
    """
    num = config.search.evaluate if num is None else num
    if not num:
        for key, value in (("--storage", storage), ("--study", study)):
            if value is not None:
                raise UserError("goes with --evaluate", key=key, value=value)
        return search_run(run, config, budget=budget, quiet=quiet)

    def evaluate() -> dict[str, Any]:
        return evaluate_more(
            run, config, num=num, budget=budget, storage=storage, study=study, on_round=on_round, quiet=quiet
        )

    def learn(problem: Problem) -> Learned:
        facts = evaluate()
        settings = config.predictor.model_copy(update={"origins": ("sampled", "search")})
        records, own = _records(problem), set(facts["networks"])
        # not the finalists of earlier searches: naming winners must not change who is named the next time
        kept = [
            i
            for i, (key, origin) in enumerate(zip(records.keys, records.origins, strict=True))
            if origin == "sampled" or key in own
        ]
        predictor = fit_records(
            problem.space,
            records.take(np.array(kept, dtype=np.int64)),
            settings,
            seed=config.seed,
            quiet=True,
            file=run / "records.jsonl",
        )
        return Learned(predictor, {key: facts[key] for key in ("study", "storage", "num_evaluated", "complete")})

    if process_of()[0] > 0:
        return evaluate()
    return search_run(run, config, budget=budget, learn=learn, quiet=quiet)


def _records(problem: Problem) -> Records:
    path = problem.run / "records.jsonl"
    return load_records(path, space=problem.space, weights_sha256=problem.weights_sha256)
