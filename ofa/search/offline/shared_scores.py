"""One network, one prediction, however many searches ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.row_set import RowSet
from predictors.base import Prediction

if TYPE_CHECKING:
    from search_spaces.genome import Population


class SharedScores:
    """A predictor that remembers: called like one, it predicts only what it was never asked.

    `population` is all that was asked, once each; its length is the number of networks scored.
    """

    def __init__(self, predict: Callable[[Population], Prediction], num_genes: int) -> None:
        self._predict, self._keys = predict, RowSet(num_genes)
        self._hashes = np.zeros(0, dtype=np.uint64)  # ascending
        self._places = np.zeros(0, dtype=np.int64)  # where the network of a hash is in what follows
        self._parts: list[Population] = [np.zeros((0, num_genes), dtype=np.int64)]
        self._known: Prediction | None = None

    @property
    def population(self) -> Population:
        """(num, num_genes) in the order in which they were asked first."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]

    def __call__(self, population: Population) -> Prediction:
        hashes, new = self._keys.hashes_of(population), self._keys.add_first(population)
        if len(new) or self._known is None:
            told = self._predict(population[new])
            places = len(self._hashes) + np.arange(len(new))
            order = np.argsort(hashes[new])
            where = np.searchsorted(self._hashes, hashes[new][order])
            self._hashes = np.insert(self._hashes, where, hashes[new][order])
            self._places = np.insert(self._places, where, places[order])
            self._parts.append(population[new])
            self._known = told if self._known is None else _joined(self._known, told)
        return selected(self._known, self._places[np.searchsorted(self._hashes, hashes)])


def _joined(first: Prediction, second: Prediction) -> Prediction:
    if first.lower is None or first.upper is None:
        return Prediction(np.concatenate([first.mean, second.mean]))
    pairs = zip((first.mean, *first.ends), (second.mean, *second.ends), strict=True)
    return Prediction(*(np.concatenate(pair) for pair in pairs))


def selected(prediction: Prediction, places: npt.NDArray[np.int64]) -> Prediction:
    """Some of the networks of a prediction."""
    if prediction.lower is None:
        return Prediction(prediction.mean[places])
    lower, upper = prediction.ends
    return Prediction(prediction.mean[places], lower[places], upper[places])
