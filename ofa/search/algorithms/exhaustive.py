"""Exhaustive enumeration, in chunks: exact, for spaces small enough to list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofa.search.algorithms.base import Scores, SearchState

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


class Exhaustive:
    """Asks for every network of `space` once. `UserError` if it has more than `limit`."""

    def __init__(self, space: SearchSpace, *, limit: int, chunk: int = 65536) -> None:
        self._rows = space.enumerate(limit)
        self._chunk, self._next = chunk, 0

    def ask(self) -> Population:
        start, self._next = self._next, self._next + self._chunk
        return self._rows[start : self._next]

    def tell(self, population: Population, scores: Scores) -> None:
        pass

    def state(self) -> SearchState:
        return SearchState({}, {"next": self._next})

    def restore(self, state: SearchState) -> None:
        self._next = state.values["next"]
