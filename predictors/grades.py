"""How good a predictor is on records it never saw, beside what MACs, parameters and depth alone would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from predictors.features import depth_cost
from predictors.statistics import Estimate, Statistic, estimate, kendall_tau, root_mean_squared_error

if TYPE_CHECKING:
    from predictors.base import Floats, Prediction
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


@dataclass(frozen=True)
class Score:
    """Kendall's tau-b and root mean squared error (in accuracy, 0..1) of one way to predict."""

    tau: Estimate
    rmse: Estimate


@dataclass(frozen=True)
class FoldScore:
    """Out-of-fold scores of a candidate in cross-validation: what the model was picked by."""

    tau: float
    rmse: float


@dataclass(frozen=True)
class Grade:
    """Scores on the held-out records, which took no part in fitting or picking the graded model."""

    num_records: int
    num_heldout: int
    level: float
    predictor: Score
    coverage: float
    """Share of held-out accuracies inside their intervals; `level` is what was asked for."""
    baselines: dict[str, Score]
    cross_validation: dict[str, FoldScore]


@dataclass(frozen=True)
class Grader:
    """Grades predictions of `accuracies` (num,) of the held-out networks."""

    accuracies: Floats
    level: float
    resamples: int
    seed: int

    def score(self, predicted: Floats) -> Score:
        def measured(statistic: Statistic) -> Estimate:
            return estimate(statistic, len(self.accuracies), level=self.level, resamples=self.resamples, seed=self.seed)

        return Score(
            tau=measured(kendall_tau(predicted, self.accuracies)),
            rmse=measured(root_mean_squared_error(predicted, self.accuracies)),
        )

    def coverage(self, prediction: Prediction) -> float:
        lower, upper = prediction.ends
        inside = (lower <= self.accuracies) & (self.accuracies <= upper)
        return float(inside.mean())


def baselines(
    space: SearchSpace,
    train: tuple[Population, Floats],
    heldout: Population,
    grader: Grader,
) -> dict[str, Score]:
    """Scores of a straight line through accuracy over log MACs, over log parameters and over depth."""
    population, accuracies = train
    scores = {}
    for table in (space.cost("macs"), space.cost("params"), depth_cost(space)):
        known, wanted = np.log(table.evaluate(population)), np.log(table.evaluate(heldout))
        varies = float(known.std()) > 1e-12
        slope, intercept = np.polyfit(known, accuracies, 1) if varies else (0.0, float(accuracies.mean()))
        scores[table.metric] = grader.score(slope * wanted + intercept)
    return scores
