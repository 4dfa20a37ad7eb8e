"""Which networks were met before, and what they scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import Scores

if TYPE_CHECKING:
    from search_spaces.genome import Population

Hashes = npt.NDArray[np.uint64]

#: What is new is kept apart until it is so much: small arrays are cheap to insert into.
_RECENT = 1024


class RowSet:
    """A set of rows, by a 64-bit hash of each (two rows collide with probability 2^-64)."""

    def __init__(self, num_genes: int) -> None:
        self._factors = np.random.default_rng(0x0FA).integers(1, 2**63, size=num_genes, dtype=np.uint64) * np.uint64(2)
        self._factors += np.uint64(1)
        nothing: Hashes = np.zeros(0, dtype=np.uint64)
        self._known, self._recent = nothing, nothing  # both ascending; most of the set, and what is not in there yet

    def new(self, rows: Population) -> npt.NDArray[np.bool_]:
        """(...) which rows (..., num_genes) are not in the set; of equal rows all."""
        return ~self._holds(self.hashes_of(rows))

    def add(self, rows: Population) -> Population:
        """Put rows in; those that are new, once each, in their order."""
        return rows[self.add_first(rows)]

    def add_first(self, rows: Population) -> npt.NDArray[np.int64]:
        """Put rows in; the positions of those that are new, of equal ones the first, ascending."""
        unique, first = np.unique(self.hashes_of(rows), return_index=True)
        new = ~self._holds(unique)
        self._recent = _merged(self._recent, unique[new])
        if len(self._recent) > max(_RECENT, len(self._known) // 16):  # seldom: all of the set moves
            self._known, self._recent = _merged(self._known, self._recent), self._recent[:0]
        return np.sort(first[new])

    def __len__(self) -> int:
        return len(self._known) + len(self._recent)

    @property
    def hashes(self) -> Hashes:
        """All that is in the set, ascending, for `restore`."""
        return _merged(self._known, self._recent)

    def restore(self, hashes: Hashes) -> None:
        self._known, self._recent = hashes, hashes[:0]

    def hashes_of(self, rows: Population) -> Hashes:
        """(num,) of every row."""
        return (rows.astype(np.uint64) + np.uint64(1)) @ self._factors

    def _holds(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        return _among(self._known, hashes) | _among(self._recent, hashes)


def _merged(ascending: Hashes, others: Hashes) -> Hashes:
    """Both, ascending; `others` are too."""
    both = np.concatenate([ascending, others])
    both.sort(kind="stable")  # merges what is in order already
    return both


def _among(ascending: Hashes, hashes: Hashes) -> npt.NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(hashes.shape, dtype=bool)
    places = np.minimum(ascending.searchsorted(hashes), len(ascending) - 1)
    return np.asarray(ascending[places] == hashes)


class RowScores:
    """The scores (of one objective) of rows, by the same hashes."""

    def __init__(self, num_genes: int) -> None:
        self._rows = RowSet(num_genes)
        self._scores = Scores(np.zeros(0), np.zeros(0))  # in the order of the hashes

    def add(self, rows: Population, scores: Scores) -> None:
        """Put in distinct rows that are not there yet."""
        before = self._rows.hashes
        self._rows.add(rows)
        joined = self._scores.joined(scores)
        self._scores = joined.take(np.argsort(np.concatenate([before, self._rows.hashes_of(rows)]), kind="stable"))

    def new(self, rows: Population) -> Population:
        """Those that are not there yet, once each."""
        new = rows[self._rows.new(rows)]
        return new[np.sort(np.unique(self._rows.hashes_of(new), return_index=True)[1])]

    def scores(self, rows: Population) -> Scores:
        """Of rows that are all there."""
        return self._scores.take(np.searchsorted(self._rows.hashes, self._rows.hashes_of(rows)))

    def __len__(self) -> int:
        return len(self._rows)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        arrays = {"known": self._rows.hashes, "known_objective": self._scores.objective}
        return {**arrays, "known_violation": self._scores.violation}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._rows.restore(arrays["known"])
        self._scores = Scores(arrays["known_objective"], arrays["known_violation"])
