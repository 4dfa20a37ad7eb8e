"""The predictor loop over an evaluation of one's own: propose, evaluate, learn; every answer on file at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import violations
from ofa.search.feasibility.feasible import feasible_networks
from ofa.search.loop import fit_history
from ofa.search.proposals import PredictorProposals
from ofa.search.study.fresh import fresh_rows
from ofa.search.study.proposer import History
from predictors.record_file import RecordBook
from predictors.settings import PredictorSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from ofa.search.budgets import ResolvedBudget
    from ofa.search.settings import SearchSettings
    from search_spaces import Architecture, SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population


@dataclass(frozen=True)
class _Answer:
    """Of an evaluation that tells its accuracy alone."""

    accuracy: float
    loss: float = math.inf
    num_images: int = 0


def evaluate_in_loop(
    space: SearchSpace,
    evaluate: Callable[[Architecture], float],
    costs: Mapping[str, CostTable],
    budget: ResolvedBudget,
    settings: SearchSettings,
    *,
    num: int,
    seed: int,
    journal: Path | None,
    label: str,
    quiet: bool,
) -> tuple[Population, npt.NDArray[np.float64]]:
    """Bring the journal to `num` networks: (networks (n, num_genes), accuracies (n,)) in the order they were evaluated.

    What is proposed follows from the seed and from what is known, so that a search which was stopped goes on as it
    would have. Fewer than `num` are there when the limits leave no more.
    """
    if num < 1:
        raise UserError("must be at least 1", key="num_evaluations", value=num)
    with TemporaryDirectory() as folder:
        name = "label-" + digest(label)[:12]
        book = RecordBook(
            journal or Path(folder) / "journal.jsonl",
            space,
            identity={"weights_sha256": name, "calibration_sha256": name, "selection_sha256": name},
        )
        return _Loop(space, evaluate, costs, budget, settings, book, seed).run(num, quiet=quiet)


@dataclass(frozen=True)
class _Loop:
    space: SearchSpace
    evaluate: Callable[[Architecture], float]
    costs: Mapping[str, CostTable]
    budget: ResolvedBudget
    settings: SearchSettings
    book: RecordBook
    seed: int

    def run(self, num: int, *, quiet: bool) -> tuple[Population, npt.NDArray[np.float64]]:
        anchors = feasible_networks(self.space, self.costs, self.budget, seed=self.seed)
        fit = fit_history(self.space, PredictorSettings(), seed=self.seed)
        proposals = PredictorProposals(
            self.space, self.costs, [self.budget], tuple(self.budget.limits), self.settings, fit, seed=self.seed
        )
        records = self.book.reload(by_arrival=True)
        with progress_bar("evaluating networks", num, done=len(records), quiet=quiet) as advance:
            while len(records) < num:
                history = History(
                    records.population, records.accuracies, records.population[:0], stream=(0, len(records))
                )
                row = self._next(proposals, history, anchors)
                if not len(row):
                    break
                (architecture,) = self.space.decode(row)
                accuracy = self.book.accuracy(architecture, self._checked, origin="search")
                advance(1, note=f"{architecture.key} {accuracy:.4f}")
                records = self.book.reload(by_arrival=True)
        return records.population, records.accuracies

    def _next(self, proposals: PredictorProposals, history: History, anchors: Population) -> Population:
        """One network that is new and within the limits, or none if there is none."""
        within = history.population[self._keeps(history.population)]
        return fresh_rows(
            self.space,
            proposals.propose(history, 1),
            history.population,
            keeps=self._keeps,
            anchors=np.concatenate([anchors, within]),
            rng=np.random.default_rng([self.seed, *history.stream]),
        )

    def _keeps(self, rows: Population) -> npt.NDArray[np.bool_]:
        return np.asarray(violations(self.costs, self.budget.limits, rows) == 0)

    def _checked(self, architecture: Architecture) -> _Answer:
        answer: Any = self.evaluate(architecture)
        try:
            accuracy = float(answer)
        except (TypeError, ValueError):
            raise UserError("must give a number", key="evaluate", value=answer) from None
        if not 0 <= accuracy <= 1:
            raise UserError("must give an accuracy in 0..1", key="evaluate", value=accuracy)
        return _Answer(accuracy)
