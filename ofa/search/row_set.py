"""Which networks were met before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from search_spaces.genome import Population

Hashes = npt.NDArray[np.uint64]


class RowSet:
    """A set of rows, by a 64-bit hash of each (two rows collide with probability 2^-64)."""

    def __init__(self, num_genes: int) -> None:
        self._factors = np.random.default_rng(0x0FA).integers(1, 2**63, size=num_genes, dtype=np.uint64) * np.uint64(2)
        self._factors += np.uint64(1)
        self._known: Hashes = np.zeros(0, dtype=np.uint64)  # ascending

    def new(self, rows: Population) -> npt.NDArray[np.bool_]:
        """(num,) which rows are not in the set; of equal rows all."""
        return ~self._holds(self.hashes(rows))

    def add(self, rows: Population) -> Population:
        """Put rows in; those that are new, once each, in their order."""
        return rows[self.add_first(rows)]

    def add_first(self, rows: Population) -> npt.NDArray[np.int64]:
        """Put rows in; the positions of those that are new, of equal ones the first, ascending."""
        unique, first = np.unique(self.hashes(rows), return_index=True)
        new = ~self._holds(unique)
        self._known = np.insert(self._known, np.searchsorted(self._known, unique[new]), unique[new])
        return np.sort(first[new])

    def __len__(self) -> int:
        return len(self._known)

    def hashes(self, rows: Population) -> Hashes:
        return (rows.astype(np.uint64) + np.uint64(1)) @ self._factors

    def _holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        if not len(self._known):
            return np.zeros(len(hashes), dtype=bool)
        places = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        return np.asarray(self._known[places] == hashes)
