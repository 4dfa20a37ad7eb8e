"""What a predictor is: an accuracy model and its space; and, fitted here, its calibrated interval and its grade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from predictors.columns import ColumnEncoder
from predictors.features import Blocks, Encoder, Renumbered
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
    """Means and interval ends, float64 (num,) each; of a `Predictor`: accuracies in 0..1.

    Where nothing is known of how far the means may be off, there are no ends: both are None.
    """

    mean: Floats
    lower: Floats | None = None
    upper: Floats | None = None

    @property
    def ends(self) -> tuple[Floats, Floats]:
        """Both ends, of a prediction that is known to have them."""
        assert self.lower is not None and self.upper is not None
        return self.lower, self.upper

    def facts(self, index: int) -> dict[str, float]:
        """One network as JSON: `mean`, and `lower` and `upper` where they are known."""
        ends = {"mean": self.mean, "lower": self.lower, "upper": self.upper}
        return {name: float(values[index]) for name, values in ends.items() if values is not None}

    def calibrated(self, scale: float | None, to_accuracy: Callable[[Floats], Floats]) -> Prediction:
        """The half-widths multiplied by `scale` (None: no interval), then all taken through an increasing map."""
        if scale is None:
            return Prediction(to_accuracy(self.mean))
        lower, upper = self.ends
        return Prediction(
            mean=to_accuracy(self.mean),
            lower=to_accuracy(self.mean - scale * (self.mean - lower)),
            upper=to_accuracy(self.mean + scale * (upper - self.mean)),
        )


#: Predicts populations (num, num_genes): a `BoundPredictor`, or anything made of one.
Predict = Callable[[Population], Prediction]


class AccuracyModel(Protocol):
    """A regressor over encodings. `arrays` and `from_arrays` are all there is to saving and loading it."""

    def predict(self, encodings: npt.NDArray[Any]) -> Prediction:
        """Predict the targets of `encodings` (num, num_features).

        A model that can be fitted here gives its own idea of its error too; the scale of that is calibrated later.
        """

    def arrays(self) -> dict[str, npt.NDArray[Any]]: ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, num_features: int) -> AccuracyModel:
        """Rebuild a model; `ValueError` if a name or shape is not what `arrays` gives."""


class FittedModel(AccuracyModel, Protocol):
    """A model that can be fitted to records."""

    @classmethod
    def fit(
        cls,
        encodings: Floats,
        targets: Floats,
        groups: npt.NDArray[np.int64],
        *,
        seed: int,
        blocks: Blocks | None = None,
    ) -> FittedModel:
        """Fit `encodings` (num, num_features) to `targets` (num,), higher is better.

        Rows of one group (int64 (num,)) are evaluations of one network: a model's inner splits keep them together.
        `blocks` says which columns are what (`Encoder`); without it a model takes them all for alike.
        """


@runtime_checkable
class Refittable(Protocol):
    """A model whose hyper-parameters serve other records too: fitting again is cheap then."""

    def refit(
        self, encodings: Floats, targets: Floats, groups: npt.NDArray[np.int64], *, blocks: Blocks | None = None
    ) -> FittedModel: ...


@dataclass(frozen=True)
class Published:
    """Where a predictor that was not fitted here comes from."""

    file: str
    """Its name and SHA-256 as it was published."""
    sha256: str
    source: str | None
    licence: str | None
    note: str = "published, not fitted here"


@dataclass(frozen=True)
class Predictor:
    """Predicts the accuracy a subnet of one space would have on the selection split, without building it."""

    name: str
    model: AccuracyModel
    target: str
    space_description: dict[str, Any]
    space_fingerprint: str
    inputs: str
    """Digest of the records and settings it was fitted to, or of what was imported."""
    interval_scale: float | None = None
    """Factor on the model's own half-widths that gives them their coverage (conformal, out-of-fold residuals)."""
    level: float | None = None
    grade: Grade | None = None
    """None, like scale and level of the interval: published, so nothing here says how good it is."""
    columns: tuple[str, ...] | None = None
    """What the model's inputs are, as a `ColumnEncoder` reads it; None: the features of `Encoder`."""
    published: Published | None = None

    @property
    def num_features(self) -> int:
        if self.columns is not None:
            return len(self.columns)
        return Encoder(SearchSpace.from_description(self.space_description)).num_features

    def predict(self, space: SearchSpace, population: Population) -> Prediction:
        """Predict the accuracies of `population` (num, num_genes). `UserError` if it is of another space."""
        return self.bind(space)(population)

    def bind(self, space: SearchSpace) -> BoundPredictor:
        """The predictor ready for many populations: tables of the encoding are built once."""
        known = space.description == self.space_description  # the same space: nothing to build
        whole = space if known else SearchSpace.from_description(self.space_description)
        if space.fingerprint != self.space_fingerprint:
            raise self._of_another_space(space, whole)
        renumbering = self._renumbering(space, whole)
        if self.columns is not None:
            return BoundPredictor(self, ColumnEncoder(space, self.columns))
        return BoundPredictor(self, Renumbered(Encoder(whole), renumbering))

    def _of_another_space(self, space: SearchSpace, whole: SearchSpace) -> UserError:
        what = "fitted to" if self.published is None else "published for"
        other = f"({whole.name}, fingerprint {self.space_fingerprint[:12]}) than {space.name} ({space.fingerprint})"
        if differing := [key for key in whole.settings if space.settings.get(key) != whole.settings[key]]:
            key = differing[0]
            other += f": its {key} is {whole.settings[key]}, not {space.settings.get(key)}"
        return UserError(f"this predictor was {what} another space {other}", hint=self._hint("this space"))

    def _renumbering(self, space: SearchSpace, whole: SearchSpace) -> tuple[npt.NDArray[np.int64], ...]:
        """For every gene: the option numbers, in the predictor's space, of the options of the space searched."""
        numbers = []
        for gene, known in zip(space.genes, whole.genes, strict=True):
            missing = [option for option in gene.options if option not in known.options]
            if missing:
                what = "fitted to" if self.published is None else "published for"
                raise UserError(
                    f"the predictor was {what} a part of {whole.name} without {gene.name} = {missing[0]!r}",
                    hint=self._hint("the whole space"),
                )
            numbers.append(np.array([known.options.index(option) for option in gene.options], dtype=np.int64))
        return tuple(numbers)

    def _hint(self, wanted: str) -> str:
        if self.published is None:
            return f"Fit one to records of {wanted} with `ofa fit RUN`"
        return f"Search its own with --space {self.space_description['name']}, or without --space"


@dataclass(frozen=True)
class BoundPredictor:
    """A `Predictor` together with the encoding of the space searched; call it with populations."""

    predictor: Predictor
    encode: Callable[[Population], npt.NDArray[Any]]

    def __call__(self, population: Population) -> Prediction:
        parts = [self._predict(population[start : start + CHUNK]) for start in range(0, max(len(population), 1), CHUNK)]
        if len(parts) == 1:
            return parts[0]
        mean = np.concatenate([part.mean for part in parts])
        if parts[0].lower is None:
            return Prediction(mean)
        lower, upper = (np.concatenate(ends) for ends in zip(*(part.ends for part in parts), strict=True))
        return Prediction(mean, lower, upper)

    def _predict(self, population: Population) -> Prediction:
        scale = self.predictor.interval_scale
        if len(population) == 0:
            nothing = np.zeros(0)
            return Prediction(nothing) if scale is None else Prediction(nothing, nothing, nothing)
        raw = self.predictor.model.predict(self.encode(population))
        return raw.calibrated(scale, TARGETS[self.predictor.target].to_accuracy)


def load_predictor(folder: Path | str) -> Predictor:
    """Read a predictor folder (`predictor.json`, `predictor.safetensors`); `UserError` on anything that is not one."""
    from predictors.storage import read_predictor

    return read_predictor(folder)
