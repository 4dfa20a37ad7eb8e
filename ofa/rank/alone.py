"""The same networks trained alone, from scratch, as the run's config says: the truth that subnets stand in for.

Each training has a folder of its own, RUN/rank/alone/KEY-seedS, goes on where it was stopped and is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def standalone_accuracies(
    architectures: Sequence[Architecture], seeds: Sequence[int], train: Train, *, folder: Path, quiet: bool = False
) -> npt.NDArray[np.float64]:
    """(num_seeds, num) selection accuracies of `architectures`, trained below `folder`; seed by seed."""
    accuracies = np.empty((len(seeds), len(architectures)))
    for row, seed in enumerate(seeds):
        for column, architecture in enumerate(architectures):
            name = f"{architecture.key}-seed{seed}"
            if not quiet:
                done = row * len(architectures) + column
                note(f"alone, {done + 1} of {accuracies.size}: {name}")
            accuracies[row, column] = train(architecture, seed, folder / FOLDER / name)
    return accuracies


def training_alone(config: TrainingConfig, space: SearchSpace) -> Train:
    """Trains networks of `space` as `config` trains the supernet: the same epochs, data, optimiser and schedule.

    Splits do not depend on the seed: every training is scored on the selection split of the run.
    """
    from search_spaces.common.settings import parse_settings
    from trainers.alone import alone_config, score_alone
    from trainers.command import train_config
    from trainers.data import load_data
    from trainers.settings.train import TrainingConfig
    from trainers.training import check_same_training

    def train(architecture: Architecture, seed: int, folder: Path) -> float:
        alone = alone_config(config, space, architecture)
        sections = {name: getattr(alone, name).model_dump(mode="json", exclude_none=True) for name in ("data", "train")}
        written = {"name": config.name, "seed": seed, "space": alone.space, **sections}
        settings = parse_settings(TrainingConfig, written)
        try:
            check_same_training(settings, folder)
        except UserError as error:
            hint = f"Move {folder} away to train it again"
            raise UserError(error.message, file=error.file, key=error.key, value=error.value, hint=hint) from None
        train_config(settings, written, folder)
        data = load_data(settings.data, seed=config.seed)
        facts = score_alone(folder, data, batch_size=settings.train.group_size)
        return float(facts["selection"]["recalibrated"]["accuracy"])

    return train
