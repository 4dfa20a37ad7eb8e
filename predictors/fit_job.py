"""The records of one fit as accuracy models see them: fits, cross-validation, calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictors.base import FittedModel, Floats, Prediction
from predictors.features import Blocks, Encoder
from predictors.folds import fold_numbers
from predictors.grades import FoldScore
from predictors.models import MODELS
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from predictors.statistics import conformal_scale, kendall_tau
from predictors.targets import TARGETS
from search_spaces import SearchSpace

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Job:
    """Encoded records; `rows` of its methods are positions in them."""

    encodings: Floats  # (num, num_features)
    blocks: Blocks
    targets: Floats  # (num,)
    accuracies: Floats  # (num,)
    groups: Indices  # (num,) records of one number are never on both sides of a split
    settings: PredictorSettings
    seed: int

    @classmethod
    def of(cls, space: SearchSpace, records: Records, settings: PredictorSettings, seed: int) -> Job:
        encoder = Encoder(space)
        targets = TARGETS[settings.target].from_accuracy(records.accuracies)
        names = {name: number for number, name in enumerate(dict.fromkeys(records.group_names))}
        groups = np.array([names[name] for name in records.group_names], dtype=np.int64)
        encodings = encoder(records.population)
        return cls(encodings, encoder.blocks, targets, records.accuracies, groups, settings, seed)

    def fit(self, name: str, rows: Indices) -> FittedModel:
        encodings, targets, groups = self.encodings[rows], self.targets[rows], self.groups[rows]
        return MODELS.get(name).fit(encodings, targets, groups, seed=self.seed, blocks=self.blocks)

    def out_of_fold(self, name: str, rows: Indices, advance: Callable[..., None]) -> Prediction:
        """Predictions of the targets of `rows`, each by a model that did not see it."""
        fold_of = fold_numbers(self.groups[rows], self.settings.folds, seed=self.seed)
        ends = np.empty((3, len(rows)))
        for fold in range(self.settings.folds):
            inside = fold_of == fold
            if inside.any():
                part = self.fit(name, rows[~inside]).predict(self.encodings[rows[inside]])
                ends[:, inside] = part.mean, *part.ends
            advance(1, note=name)
        return Prediction(*ends)

    def fold_score(self, prediction: Prediction, rows: Indices) -> FoldScore:
        errors = TARGETS[self.settings.target].to_accuracy(prediction.mean) - self.accuracies[rows]
        tau = kendall_tau(prediction.mean, self.targets[rows])(np.ones((1, len(rows))))
        return FoldScore(tau=float(tau[0]), rmse=float(np.sqrt(np.mean(errors**2))))

    def scale(self, prediction: Prediction, rows: Indices) -> float:
        """What the half-widths of out-of-fold predictions must be multiplied by to cover the truth."""
        lower, upper = prediction.ends
        half = (upper - lower) / 2
        return conformal_scale(prediction.mean - self.targets[rows], half, level=self.settings.level)
