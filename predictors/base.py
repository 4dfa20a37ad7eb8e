"""What a predictor is: a fitted accuracy model, its space, its calibrated interval and its grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from predictors.features import Encoder
from predictors.targets import TARGETS
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.genome import Population

if TYPE_CHECKING:
    from pathlib import Path

    from predictors.grades import Grade

Floats = npt.NDArray[np.float64]

#: Rows scored at once: bounds the memory of scoring millions of networks.
CHUNK = 16384


@dataclass(frozen=True)
class Prediction:
    """Means and interval ends, float64 (num,) each; of a `Predictor`: accuracies in 0..1."""

    mean: Floats
    lower: Floats
    upper: Floats

    def calibrated(self, scale: float, to_accuracy: Callable[[Floats], Floats]) -> Prediction:
        """The half-widths multiplied by `scale`, then everything taken through an increasing map."""
        return Prediction(
            mean=to_accuracy(self.mean),
            lower=to_accuracy(self.mean - scale * (self.mean - self.lower)),
            upper=to_accuracy(self.mean + scale * (self.upper - self.mean)),
        )


class AccuracyModel(Protocol):
    """A fitted regressor. `fit` makes one; `arrays` and `from_arrays` are all there is to saving and loading it."""

    @classmethod
    def fit(cls, encodings: Floats, targets: Floats, groups: npt.NDArray[np.int64], *, seed: int) -> AccuracyModel:
        """Fit `encodings` (num, num_features) to `targets` (num,), higher is better.

        Rows of one group (int64 (num,)) are evaluations of one network: a model's inner splits keep them together.
        """

    def predict(self, encodings: Floats) -> Prediction:
        """Predict the targets of `encodings`, with the model's own idea of its error; its scale is calibrated later."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]: ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> AccuracyModel:
        """Rebuild a model; `ValueError` if a name or shape is not what `arrays` gives."""


@dataclass(frozen=True)
class Predictor:
    """Predicts the accuracy a subnet of one space would have on the selection split, without building it."""

    name: str
    model: AccuracyModel
    target: str
    interval_scale: float
    """Factor on the model's own half-widths that gives them their coverage (conformal, out-of-fold residuals)."""
    level: float
    space_description: dict[str, Any]
    space_fingerprint: str
    grade: Grade
    inputs: str
    """Digest of the records and settings it was fitted to."""

    def predict(self, space: SearchSpace, population: Population) -> Prediction:
        """Predict the accuracies of `population` (num, num_genes). `UserError` if it was fitted to another space."""
        return self.bind(space)(population)

    def bind(self, space: SearchSpace) -> BoundPredictor:
        """The predictor ready for many populations: cost tables of the encoding are built once."""
        if space.fingerprint != self.space_fingerprint:
            raise UserError(
                f"this predictor was fitted to another space ({self.space_description.get('name')}, fingerprint "
                f"{self.space_fingerprint[:12]}) than {space.name} ({space.fingerprint[:12]})",
                hint="Fit one to records of this space with `ofa fit RUN`",
            )
        whole = SearchSpace.from_description(self.space_description)
        return BoundPredictor(self, Encoder(whole), _renumbering(space, whole))


@dataclass(frozen=True)
class BoundPredictor:
    """A `Predictor` together with the encoder of its space; call it with populations."""

    predictor: Predictor
    encoder: Encoder
    renumbering: tuple[npt.NDArray[np.int64], ...]
    """For every gene: the option numbers, in the predictor's space, of the options of the space searched."""

    def __call__(self, population: Population) -> Prediction:
        parts = [self._predict(population[start : start + CHUNK]) for start in range(0, max(len(population), 1), CHUNK)]
        return Prediction(
            mean=np.concatenate([part.mean for part in parts]),
            lower=np.concatenate([part.lower for part in parts]),
            upper=np.concatenate([part.upper for part in parts]),
        )

    def _predict(self, population: Population) -> Prediction:
        if len(population) == 0:
            return Prediction(np.zeros(0), np.zeros(0), np.zeros(0))
        columns = [numbers[population[:, gene]] for gene, numbers in enumerate(self.renumbering)]
        whole = self.encoder.space.canonical(np.stack(columns, axis=1))
        raw = self.predictor.model.predict(self.encoder(whole))
        return raw.calibrated(self.predictor.interval_scale, TARGETS[self.predictor.target].to_accuracy)


def _renumbering(space: SearchSpace, whole: SearchSpace) -> tuple[npt.NDArray[np.int64], ...]:
    numbers = []
    for gene, known in zip(space.genes, whole.genes, strict=True):
        missing = [option for option in gene.options if option not in known.options]
        if missing:
            raise UserError(
                f"the predictor was fitted to a part of {whole.name} without {gene.name} = {missing[0]!r}",
                hint="Fit one to records of the whole space with `ofa fit RUN`",
            )
        numbers.append(np.array([known.options.index(option) for option in gene.options], dtype=np.int64))
    return tuple(numbers)


def load_predictor(folder: Path | str) -> Predictor:
    """Read a predictor folder (`predictor.json`, `predictor.safetensors`); `UserError` on anything that is not one."""
    from predictors.storage import read_predictor

    return read_predictor(folder)
