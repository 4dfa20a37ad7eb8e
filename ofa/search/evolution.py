"""Evolution over whole populations: elitist selection, mutation, uniform crossover, neighbours of the best.

Constraints are part of the ranking (K. Deb, "An efficient constraint handling method for genetic algorithms", 2000):
a network that keeps the limits beats one that does not, and of two that do not, the nearer wins. No network is asked
twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms import Archive, Scores

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population


#: How often children are drawn in one generation when most of them were asked before.
_ATTEMPTS = 6


class Evolution:
    """(population + population) evolution; ends after `generations`, `patience` idle ones, or when nothing is new."""

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 256,
        generations: int = 200,
        patience: int = 30,
        seed: int = 0,
        start: Population | None = None,
    ) -> None:
        self._space, self._num, self._generations, self._patience = space, population, generations, patience
        self._rng = np.random.default_rng([seed, space.num_genes])
        self._parents = Archive(space.num_genes, population)
        self._start = np.zeros((0, space.num_genes), dtype=np.int64) if start is None else space.canonical(start)
        self._asked = RowSet(space.num_genes)
        self._generation, self._idle = 0, 0
        self._explored: tuple[float, float] | None = None

    def ask(self) -> Population:
        if self._generation >= self._generations or self._idle >= self._patience:
            return self._start[:0]
        if self._generation == 0:
            return self._asked.add(self._first())
        new = [self._start[:0]]
        for attempt in range(_ATTEMPTS):  # where few children are new, the next ones are changed more
            if 4 * sum(map(len, new)) >= self._num or len(self._asked) == self._space.size:
                break
            new.append(self._asked.add(self._children(1.0 + attempt)))
        return np.concatenate(new)

    def tell(self, population: Population, scores: Scores) -> None:
        before = self._best()
        self._parents.add(population, scores)
        self._idle = 0 if self._best() != before else self._idle + 1
        self._generation += 1

    def _best(self) -> tuple[float, float] | None:
        scores = self._parents.scores
        return (float(scores.violation[0]), float(scores.objective[0])) if len(self._parents) else None

    def _first(self) -> Population:
        """Given networks, random ones, and random ones drawn towards the smallest and the largest."""
        rows = self._space.sample(self._num, self._rng)
        third = max(1, self._num // 3)
        ends = np.stack([self._space.smallest(), self._space.largest()])
        pulled = self._space.crossover(rows[: 2 * third], ends[np.arange(len(rows[: 2 * third])) % 2], self._rng)
        return np.concatenate([self._start, ends, pulled, rows[2 * third :]])

    def _children(self, strength: float) -> Population:
        """Half mutants (few genes, then more), half mutated crossovers, strangers, and the neighbours of a new best."""
        rng, space, parents = self._rng, self._space, self._parents.population
        few = strength / space.num_genes
        half, quarter = self._num // 2, self._num // 4
        chosen = [parents[self._tournament(count)] for count in (quarter, half - quarter, half, half)]
        parts = [
            space.mutate(chosen[0], rng, min(1.5 * few, 1.0)),
            space.mutate(chosen[1], rng, min(4.0 * few, 1.0)),
            space.mutate(space.crossover(chosen[2], chosen[3], rng), rng, min(0.5 * few, 1.0)),
            space.sample(max(2, self._num // 16), rng),
        ]
        if self._best() != self._explored:
            self._explored = self._best()
            parts.append(neighbours(space, parents[0]))
        return np.concatenate(parts)

    def _tournament(self, num: int) -> npt.NDArray[np.int64]:
        """Positions of parents (best first), each the better of two random ones."""
        return self._rng.integers(len(self._parents), size=(2, num)).min(axis=0)


def neighbours(space: SearchSpace, row: npt.NDArray[np.int64]) -> Population:
    """All networks that differ from `row` in one gene."""
    changed = []
    for gene, count in enumerate(len(gene.options) for gene in space.genes):
        rows = np.repeat(row[None], count, axis=0)
        rows[:, gene] = np.arange(count)
        changed.append(rows)
    return np.unique(space.canonical(np.concatenate(changed)), axis=0)


class RowSet:
    """Which rows were seen, by a 64-bit hash of each (two rows collide with probability 2^-64)."""

    def __init__(self, num_genes: int) -> None:
        self._factors = np.random.default_rng(0x0FA).integers(1, 2**63, size=num_genes, dtype=np.uint64) * np.uint64(2)
        self._factors += np.uint64(1)
        self._seen = np.zeros(0, dtype=np.uint64)

    def add(self, rows: Population) -> Population:
        """The rows that are new, once each, in their order; from now on they are seen."""
        hashes = ((rows.astype(np.uint64) + np.uint64(1)) * self._factors).sum(axis=1, dtype=np.uint64)
        unique, first = np.unique(hashes, return_index=True)
        places = np.searchsorted(self._seen, unique)
        known = np.zeros(len(unique), dtype=bool)
        inside = places < len(self._seen)
        known[inside] = self._seen[places[inside]] == unique[inside]
        self._seen = np.insert(self._seen, places[~known], unique[~known])
        return rows[np.sort(first[~known])]

    def __len__(self) -> int:
        return len(self._seen)
