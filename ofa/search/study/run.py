"""`run_study`: one worker of a study, from the run folder to its results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ofa.search.budgets import full_name
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.front import pareto_front
from ofa.search.stage import Problem, load_problem
from ofa.search.study.ledger import LOST, Entry, Ledger, owners, rows
from ofa.search.study.proposer import Proposer
from ofa.search.study.samplers import make_proposer
from ofa.search.study.storages import open_storage, shown
from ofa.search.study.terms import ACCURACY, Terms, check_study, open_study
from ofa.search.study.worker import Evaluator, Worker, evaluated
from predictors.records import process_of
from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from ofa.search.budgets import Budget
    from search_spaces.genome import Population


class MakeProposer(Protocol):
    """Builds a proposer once the run has been read and its budget resolved (`problem.budgets[0]`, if it has one)."""

    def __call__(self, problem: Problem, *, seed: int) -> Proposer: ...


def run_study(
    run: Path,
    config: RunConfig,
    *,
    storage: str,
    study_name: str,
    num: int,
    sampler: str | MakeProposer = "tpe",
    budget: Budget | None = None,
    objectives: tuple[str, ...] = ("accuracy",),
    seed: int | None = None,
    evaluator: Evaluator | None = None,
    stale_after_s: float = 60.0,
    batch: int = 1,
    quiet: bool = False,
) -> dict[str, Any]:
    """Work on a study until it has evaluated `num` networks for real, whoever did; its results as JSON-like facts.

    Any number of workers do this at once, each a call of this function in a process of its own, on machines that
    reach `storage` (see `open_storage`). Under torchrun every rank is a worker. A worker that finds the study complete
    returns its results at once; one that is started again after it was killed goes on.

    `sampler` is one of `samplers.SAMPLERS`, or builds a proposer of one's own. Without a `budget`, that of the config
    is kept, or none if it has none; of several, a proposer of one's own sees to each, and the study itself to none.
    `objectives` are `accuracy`, and costs to trade it against. `evaluator` is the run's supernet on its selection split
    if left out. `stale_after_s` is how long a silent worker is waited for; the worker that makes the study decides.
    `batch` networks are asked of the proposer at a time.

    Raises `UserError` for a study of another space, supernet, budget or other objectives, with nothing written, and
    `Infeasible` for a budget that no network keeps.
    """
    _check(num=num, stale_after_s=stale_after_s, batch=batch)
    problem = load_problem(run, config, budget=budget)
    several = len(problem.budgets) > 1
    if several and isinstance(sampler, str):
        budgets = ", ".join(one.name for one in problem.budgets)
        hint = "Give its limits: --max. The sampler `predictor` searches all budgets at once"
        raise UserError(f"a study of {sampler!r} keeps one budget", key="search.budgets", value=budgets, hint=hint)
    limits = problem.budgets[0].limits if problem.budgets and not several else {}
    full = (objective if objective == ACCURACY else _cost(problem, objective) for objective in objectives)
    terms = Terms(problem.space, problem.weights_sha256, problem.costs, limits, tuple(full))
    seed = config.seed if seed is None else seed
    if isinstance(sampler, str):
        proposer = make_proposer(sampler, terms, seed=seed)
    else:
        proposer = sampler(problem, seed=seed)
    opened, where = open_storage(storage), shown(storage)
    with _answering(where):
        study_id, stale = open_study(opened, study_name, terms, where=where, stale_after_s=stale_after_s)
        ledger = Ledger(opened, study_id, terms, stale_after_s=stale)
        rank, _ = process_of()
        complete = len(evaluated(ledger.entries())) >= num
        if not complete:
            complete = Worker(
                ledger=ledger,
                proposer=proposer,
                evaluator=_evaluator(problem) if evaluator is None else evaluator,
                anchors=_anchors(problem, seed),
                num=num,
                seed=seed,
                stream=rank,
                batch=batch,
                check=partial(check_study, opened, study_id, terms, where=where, name=study_name),
                quiet=quiet or rank > 0,
            ).work()
        entries = ledger.entries()
    return {
        "study": study_name,
        "storage": where,
        "sampler": sampler if isinstance(sampler, str) else "proposer",
        "seed": seed,
        "complete": complete,
        **terms.facts(),
        **study_results(problem, terms, entries),
    }


def study_results(problem: Problem, terms: Terms, entries: Sequence[Entry]) -> dict[str, Any]:
    """Counts, the most accurate network within the limits, and the front of accuracy against the costs in play."""
    known = [entry for entry in owners(entries).values() if entry.state == "done"]
    population = rows(known, problem.space.num_genes)
    kept = terms.keeps(population)
    population, known = population[kept], [entry for entry, keeps in zip(known, kept, strict=True) if keeps]
    accuracies = np.array([entry.accuracy for entry in known], dtype=np.float64)
    costs = [terms.costs[name].evaluate(population) for name in terms.used_costs]
    against = np.stack(costs, axis=1) if costs else np.zeros((len(known), 1))
    front = pareto_front(against, accuracies) if len(known) else np.zeros(0, dtype=np.int64)

    def facts(i: int) -> dict[str, Any]:
        architecture = problem.space.decode(population[i][None])[0]
        return {
            "key": architecture.key,
            "accuracy": float(accuracies[i]),
            "costs": {name: float(table.evaluate(population[i][None])[0]) for name, table in problem.costs.items()},
            "architecture": architecture.to_json(),
        }

    return {
        "num_evaluated": len(evaluated(entries)),
        "networks": sorted(entry.network for entry in owners(entries).values() if entry.state == "done"),
        "num_told": sum(entry.source == "records" for entry in known),
        "num_lost": sum(entry.reason == LOST for entry in entries),
        "best": facts(int(np.argmax(accuracies))) if len(known) else None,
        "front": [facts(int(i)) for i in front],
    }


def _check(*, num: int, stale_after_s: float, batch: int) -> None:
    for key, value in (("--evaluate", num), ("stale_after_s", stale_after_s), ("batch", batch)):
        if not value > 0:
            raise UserError("must be positive", key=key, value=value)


def _cost(problem: Problem, name: str) -> str:
    return full_name(name, problem.costs, default=problem.default_device, key="objectives")


def _anchors(problem: Problem, seed: int) -> Population:
    if len(problem.budgets) != 1:
        return problem.space.smallest()[None]
    return feasible_networks(problem.space, problem.costs, problem.budgets[0], seed=seed)


def _evaluator(problem: Problem) -> Evaluator:
    from predictors.records import SubnetEvaluator

    return SubnetEvaluator(problem.run, problem.config)


@contextmanager
def _answering(where: str) -> Iterator[None]:
    """A storage that goes away is told in one line; what was evaluated is in the records file."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except StorageInternalError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        hint = "Start this worker again: what it evaluated is in the records file"
        raise UserError(f"does not answer: {cause}", file=where, key="--storage", hint=hint) from error
