"""The same networks trained alone, from scratch, as the run's config says: the truth that subnets stand in for.

Each training has a folder of its own, RUN/rank/alone/KEY-seedS, goes on where it was stopped and is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.console import note
from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from search_spaces import Architecture, SearchSpace
    from trainers.settings.train import TrainingConfig

FOLDER = "alone"

#: Trains a network with a seed into a folder, or finds it finished there; gives its selection accuracy.
Train = Callable[["Architecture", int, Path], float]


def alone_folder(folder: Path, architecture: Architecture, seed: int) -> Path:
    return folder / FOLDER / f"{architecture.key}-seed{seed}"


def standalone_accuracies(
    architectures: Sequence[Architecture],
    seeds: Sequence[int],
    train: Train,
    *,
    folder: Path,
    tell: Callable[[str], None] = note,
) -> npt.NDArray[np.float64]:
    """(num_seeds, num) selection accuracies of `architectures`, trained below `folder`; seed by seed."""
    accuracies = np.empty((len(seeds), len(architectures)))
    for row, seed in enumerate(seeds):
        for column, architecture in enumerate(architectures):
            done = row * len(architectures) + column
            tell(f"training alone, {done + 1} of {accuracies.size}: {architecture.key} with seed {seed}")
            accuracies[row, column] = train(architecture, seed, alone_folder(folder, architecture, seed))
    return accuracies


@dataclass(frozen=True)
class AloneTraining:
    """Trains networks of `space` as `config` trains the supernet: the same epochs, data, optimiser and schedule.

    Splits do not depend on the seed: every training is scored on the selection split of the run.
    """

    config: TrainingConfig
    space: SearchSpace

    def __call__(self, architecture: Architecture, seed: int, folder: Path) -> float:
        from trainers.alone import score_alone
        from trainers.command import train_config
        from trainers.data import load_data

        self.check(architecture, seed, folder)
        settings = self.settings(architecture, seed)
        train_config(settings, settings.model_dump(mode="json", exclude_none=True), folder)
        data = load_data(settings.data, seed=self.config.seed)
        facts = score_alone(folder, data, batch_size=settings.train.group_size)
        return float(facts["selection"]["recalibrated"]["accuracy"])

    def check(self, architecture: Architecture, seed: int, folder: Path) -> None:
        """Raise `UserError` if `folder` holds a training with other settings."""
        from trainers.training import check_same_training

        try:
            check_same_training(self.settings(architecture, seed), folder)
        except UserError as error:
            hint = f"Move {folder} away to train it again"
            raise UserError(error.message, file=error.file, key=error.key, value=error.value, hint=hint) from None

    def settings(self, architecture: Architecture, seed: int) -> TrainingConfig:
        from search_spaces.common.settings import parse_settings
        from trainers.alone import alone_config
        from trainers.settings.train import TrainingConfig

        alone = alone_config(self.config, self.space, architecture)
        sections = {name: getattr(alone, name).model_dump(mode="json", exclude_none=True) for name in ("data", "train")}
        facts = {"name": self.config.name, "seed": seed, "space": alone.space, **sections}
        return parse_settings(TrainingConfig, facts)
