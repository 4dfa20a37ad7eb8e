"""How far networks break limits, fast enough to ask of every child that a search draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

Floats = npt.NDArray[np.float64]

#: Rows looked up at once: what they need stays in the processor's cache.
_CHUNK = 2048
#: Whole numbers below this are exact in float32, which multiplies matrices twice as fast as float64.
_EXACT = 2**24


class Limits:
    """`violations` of given limits, the same numbers to the last bit, with all look-ups prepared.

    Where an entry of a slot's table stands is a weighted sum of the options of the genes it reads: for all slots of all
    limited costs, one product of matrices. Slots that read the same genes in several costs share it.
    """

    def __init__(self, costs: Mapping[str, CostTable], limits: Mapping[str, float]) -> None:
        self._tables = [(costs[name], limit) for name, limit in limits.items()]
        scopes: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        self._slots: list[npt.NDArray[np.int64]] = []
        self._flat, self._offsets = [], []
        for table, _ in self._tables:
            shapes = [values.shape for values in table.tables]
            keys = list(zip(table.genes, shapes, strict=True))
            self._slots.append(np.array([scopes.setdefault(key, len(scopes)) for key in keys], dtype=np.int64))
            sizes = np.array([values.size for values in table.tables])
            assert sizes.max(initial=0) < _EXACT
            self._flat.append(np.concatenate([values.ravel() for values in table.tables]))
            self._offsets.append((np.cumsum(sizes) - sizes)[:, None])
        num_genes = len(self._tables[0][0].genome.genes) if self._tables else 0
        self._strides = np.zeros((len(scopes), num_genes), dtype=np.float32)
        for (genes, shape), number in scopes.items():
            for axis, gene in enumerate(genes):
                self._strides[number, gene] = np.prod(shape[axis + 1 :], dtype=np.int64)

    def __call__(self, population: Population) -> Floats:
        """(num,) sum over the limits of how far each is exceeded, as a share of the limit; 0 where all are kept."""
        total = np.zeros(len(population))
        if self._tables:
            for start in range(0, len(population), _CHUNK):
                self._add(population[start : start + _CHUNK], total[start : start + _CHUNK])
        return total

    def _add(self, population: Population, total: Floats) -> None:
        places = (self._strides @ population.astype(np.float32).T).astype(np.int64)
        for number, (table, limit) in enumerate(self._tables):
            values = self._flat[number].take(places[self._slots[number]] + self._offsets[number])
            if table.reduce == "sum":  # slot by slot, as `evaluate` adds them: what is on the limit keeps it
                cost = np.add.reduce(values, axis=0, initial=table.constant)
            else:
                cost = np.maximum.reduce(values, axis=0, initial=table.constant)
            total += np.maximum(cost / limit - 1.0, 0.0)
