"""`run_study`: one worker of a study, from the run folder to its results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ofa.search.study.proposer import Proposer

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from ofa.search.budgets import Budget
    from ofa.search.stage import Problem
    from predictors.record_file import Evaluated, RecordBook
    from search_spaces import Architecture


class Evaluator(Protocol):
    """Evaluates a network for real; `book` is the records file (`predictors.records.SubnetEvaluator` is one)."""

    @property
    def book(self) -> RecordBook: ...
    def __call__(self, architecture: Architecture, /) -> Evaluated: ...


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
    quiet: bool = False,
) -> dict[str, Any]:
    """Work on a study until it has evaluated `num` networks for real, whoever did; its results as JSON-like facts."""
    raise NotImplementedError
