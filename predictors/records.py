"""`ofa records`: evaluate the sampled subnets of a run not on file yet, by any number of processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from predictors.record_file import Evaluate, Evaluated, EvaluateTogether, RecordBook, Records, load_records
from predictors.sampling import record_groups
from predictors.settings import RecordSettings
from search_spaces.common.errors import UserError
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from search_spaces import Architecture
    from trainers.data import ImageData
    from trainers.evaluation.evaluate import Evaluation
    from trainers.settings.data import DataSettings


__all__ = ["Records", "SubnetEvaluator", "evaluate_missing", "load_records", "process_of", "record_subnets"]


class RecordConfig(Protocol):
    """The parts of a run's config that recording reads."""

    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> DataSettings: ...
    @property
    def records(self) -> RecordSettings: ...


def record_subnets(run: Path, config: RecordConfig, *, num: int | None = None, quiet: bool = False) -> Records:
    """Bring `run/records.jsonl` to the first `num` networks of the run's list; what is on file is not evaluated again.

    Under torchrun (RANK, WORLD_SIZE) every process takes its share of the list. Returns what is on file when this
    process is done: all of them if it is the only one.
    """
    evaluator = SubnetEvaluator(run, config)
    settings = config.records if num is None else config.records.model_copy(update={"num": num})
    if settings.num < 1:
        raise UserError("the number of networks must be positive", key="-n", value=settings.num)
    space = evaluator.book.space
    groups = record_groups(space, settings.num, seed=config.seed, sampling=settings.sampling)
    rank, world_size = process_of()
    evaluate_missing(
        evaluator.book,
        groups,
        evaluator,
        together=evaluator.together,
        rank=rank,
        world_size=world_size,
        quiet=quiet or rank > 0,
    )
    return evaluator.book.reload()


def evaluate_missing(
    book: RecordBook,
    groups: npt.NDArray[np.int64] | Sequence[npt.NDArray[np.int64]],
    evaluate: Evaluate,
    *,
    together: EvaluateTogether | None = None,
    rank: int = 0,
    world_size: int = 1,
    quiet: bool = False,
) -> None:
    """Evaluate the networks of `groups` at positions rank, rank + world_size, ... that `book` does not know.

    A population (num, num_genes) is as many groups of one. What is missing of a larger group is evaluated by
    `together`, and on file when all of it is done. Shares go by position in the list, not among what is missing, so
    that processes which start at different times, and see different files, never take the same network.
    """

    def alone(asked: Sequence[Architecture]) -> list[Evaluated]:
        return [evaluate(architecture) for architecture in asked]

    mine = [book.space.decode(rows) for rows in groups[rank::world_size]]
    known = sum(architecture in book for group in mine for architecture in group)
    with progress_bar("recording subnets", sum(map(len, mine)), done=known, quiet=quiet) as advance:
        for group in mine:
            missing = [architecture for architecture in group if architecture not in book]
            if not missing:
                continue
            name = group[0].key if len(group) > 1 else None
            if len(missing) > 1 and together is not None:
                accuracies = book.accuracies(missing, together, origin="sampled", group=name)
            else:
                accuracies = [book.accuracies([one], alone, origin="sampled", group=name)[0] for one in missing]
            advance(len(missing), note=f"{missing[-1].key} {accuracies[-1]:.4f}")


class SubnetEvaluator:
    """Evaluates subnets of a run's supernet on its selection split; `book` is the run's records file."""

    def __init__(self, run: Path, config: RecordConfig) -> None:
        from trainers.checkpoints.store import load_supernet
        from trainers.data import load_data
        from trainers.processes.allocator import keep_freed_memory

        keep_freed_memory()
        self._run, self._batch_size = Path(run), config.records.batch_size
        self.supernet = load_supernet(self._run)
        self.data: ImageData = load_data(config.data, seed=config.seed)
        self.book = RecordBook(
            self._run / "records.jsonl",
            self.supernet.space,
            identity=record_identity(self.supernet.weights_sha256, self.data.split_sha256),
        )

    def __call__(self, architecture: Architecture) -> Evaluation:
        from trainers.evaluation.evaluate import evaluate_architecture

        return evaluate_architecture(self.supernet, architecture, self.data, batch_size=self._batch_size)

    def together(self, architectures: Sequence[Architecture]) -> list[Evaluation]:
        """What calling with each would give, to the last bit; first layers that are equal are computed once."""
        from trainers.evaluation.together import evaluate_together

        return evaluate_together(self.supernet.supernet, architectures, self.data, batch_size=self._batch_size)


def record_identity(weights_sha256: str, split_sha256: Mapping[str, Any]) -> dict[str, str]:
    return {
        "weights_sha256": weights_sha256,
        "calibration_sha256": str(split_sha256["calibration"]),
        "selection_sha256": str(split_sha256["selection"]),
    }


def process_of() -> tuple[int, int]:
    """(rank, world size) that torchrun put into the environment; (0, 1) without it."""
    try:
        rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    except ValueError:
        raise UserError("RANK and WORLD_SIZE must be whole numbers", key="environment") from None
    if not 0 <= rank < world_size:
        raise UserError(f"RANK must be in 0..{world_size - 1}", key="environment", value=rank)
    return rank, world_size
