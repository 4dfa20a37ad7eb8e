"""What each option of each gene is worth, learnt from the networks scored so far: it tells which children to score.

Ridge regression on one-hot rows, by normal equations that grow with every population. Older networks are slowly
forgotten, so that the estimates follow a search into the region it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import SearchState

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

#: Weight of what is known after one more population.
_MEMORY = 0.95
#: How much more must be known before the effects are computed again.
_GROWTH = 0.2


class MainEffects:
    """Estimates objectives as sums over genes; a switched-off gene counts as its option 0, as in canonical rows."""

    def __init__(self, space: SearchSpace) -> None:
        counts = space.genome.num_options
        self._starts = np.cumsum(counts) - counts
        num = int(counts.sum())
        self._moments: Floats = np.zeros((num + 1, num + 1))  # the last is the intercept
        self._products: Floats = np.zeros(num + 1)
        self._centre: float | None = None
        self._fresh, self._weight = 0.0, 0.0
        self._effects: Floats = np.zeros(num + 1)

    def learn(self, population: Population, objective: Floats) -> None:
        if not len(population):
            return
        if self._centre is None:
            self._centre = float(objective.mean())
        rows = np.zeros((len(population), len(self._products)), dtype=np.float32)  # counts, so their products are exact
        rows[np.arange(len(population))[:, None], population + self._starts] = 1.0
        rows[:, -1] = 1.0
        self._moments *= _MEMORY
        self._moments += rows.T @ rows
        self._products *= _MEMORY
        self._products += (objective - self._centre).astype(np.float32) @ rows
        self._weight = _MEMORY * self._weight + len(population)
        self._fresh += len(population)
        if self._fresh > _GROWTH * self._weight:
            penalty = np.ones(len(self._products))
            penalty[-1] = 1e-6
            self._effects = np.asarray(
                np.linalg.solve(self._moments + np.diag(penalty), self._products), dtype=np.float64
            )
            self._fresh = 0.0

    def estimate(self, population: Population) -> Floats:
        """(num,) estimated objectives, up to a constant."""
        return np.asarray(self._effects.take(population + self._starts).sum(axis=1))

    def state(self) -> SearchState:
        arrays = {"moments": self._moments, "products": self._products, "effects": self._effects}
        return SearchState(arrays, {"centre": self._centre, "fresh": self._fresh, "weight": self._weight})

    def restore(self, state: SearchState) -> None:
        arrays, values = state.arrays, state.values
        self._moments, self._products, self._effects = arrays["moments"], arrays["products"], arrays["effects"]
        self._centre, self._fresh, self._weight = values["centre"], values["fresh"], values["weight"]
