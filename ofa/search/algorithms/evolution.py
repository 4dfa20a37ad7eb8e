"""Evolution by population annealing, with children chosen by what their genes seem to be worth.

Every member of the population proposes a child; whether the child takes its place is decided as in simulated annealing
(S. Kirkpatrick et al., "Optimization by simulated annealing", 1983), and as it cools, members are copied or dropped by
what they are worth at the new temperature (K. Hukushima, Y. Iba, "Population annealing and its application to a spin
glass", 2003), so that the search gathers where it goes well. Costs are far cheaper to know than scores: of many
children drawn for a member, only one is scored, the one of the best estimate (`MainEffects`) among those that keep the
limits. Where limits are still broken, a network that breaks them less beats one that breaks them more (K. Deb, "An
efficient constraint handling method for genetic algorithms", 2000). No network is asked twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ofa.search.algorithms.base import Floats, Scores, SearchState, all_keep
from ofa.search.algorithms.effects import MainEffects
from ofa.search.algorithms.neighbourhood import neighbours
from ofa.search.algorithms.repair import repaired
from ofa.search.algorithms.row_set import RowSet
from ofa.search.algorithms.state_file import generator_state, restored_generator

if TYPE_CHECKING:
    from search_spaces import SearchSpace
    from search_spaces.genome import Population

Positions = npt.NDArray[np.int64]

#: Networks of the first generation, a member.
_FIRST = 4
#: Children drawn for the one that is scored.
_DRAWN = 8
#: Share of the children that begin as a crossover.
_CROSSED = 0.2
#: A child differs in so many genes at most (before crossover); where little is new, in more and more, so often.
_CHANGED, _ATTEMPTS = 3, 6
#: First and last temperature, by the spread of the first objectives that one gene accounts for.
_HOT, _COLD = 1.0, 0.1
#: Generations from one copying of members to the next.
_INTERVAL = 5


class Evolution:
    """Cools over `generations`, of which the last are left out after `patience` without a better network, or when
    nothing is new; ends when no neighbour of the best network is better.

    `violation` tells of rows, before they are scored, how far they break limits (0: not at all); of what is known to
    break them only as much is asked as it takes to find networks that do not. Without it only the scores say so.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 128,
        generations: int = 200,
        patience: int = 60,
        seed: int = 0,
        start: Population | None = None,
        violation: Callable[[Population], Floats] = all_keep,
    ) -> None:
        self._space, self._num, self._generations, self._patience = space, population, generations, patience
        self._rng = np.random.default_rng([seed, space.num_genes])
        self._start = np.zeros((0, space.num_genes), dtype=np.int64) if start is None else space.canonical(start)
        self._violation = violation
        self._asked, self._effects = RowSet(space.num_genes), MainEffects(space)
        self._variable = np.flatnonzero(space.genome.num_options > 1)
        self._members, self._scores = self._start[:0], Scores(np.zeros(0), np.zeros(0))
        self._parents: Positions = np.zeros(0, dtype=np.int64)  # of what was asked last: whom it would replace
        self._scale = self._copied_at = 0.0
        self._generation, self._idle = 0, 0
        self._reached, self._best = (np.inf, np.inf), self._start[:0]  # violation and negative objective; the row

    def ask(self) -> Population:
        if self._generation == 0:
            return self._asked.add(self._first())
        asked, parents = [self._start[:0]], [self._start[:0, 0]]
        for attempt in range(_ATTEMPTS):
            if self._cold or 4 * sum(map(len, asked)) >= self._num or len(self._asked) == self._space.size:
                break
            rows, positions = self._children(_CHANGED * (attempt + 1))
            asked.append(rows)
            parents.append(positions)
        self._parents = np.concatenate(parents)
        return np.concatenate(asked) if len(self._parents) else self._neighbours()

    def tell(self, population: Population, scores: Scores) -> None:
        best = np.lexsort((-scores.objective, scores.violation))[0]
        reached = (float(scores.violation[best]), -float(scores.objective[best]))
        self._idle = 0 if reached < self._reached else self._idle + 1
        if reached < self._reached:
            self._reached, self._best = reached, population[best]
        if self._generation == 0:
            self._settle(population, scores)
        elif len(self._parents):
            self._replace(population, scores)
        self._effects.learn(population, scores.objective)
        self._generation += 1
        if self._generation % _INTERVAL == 0:
            self._copy()

    @property
    def _cold(self) -> bool:
        return self._generation >= self._generations or self._idle >= self._patience

    @property
    def _temperature(self) -> float:
        return self._scale * _HOT * (_COLD / _HOT) ** (self._generation / self._generations)

    def _first(self) -> Population:
        """Given networks, the smallest and the largest, and random ones; brought within the limits where one is given
        that keeps them.
        """
        macs = self._space.cost("macs")
        ends = np.stack([macs.minimum()[1], macs.maximum()[1]])
        rows = np.concatenate([ends, self._space.sample(_FIRST * self._num, self._rng)])
        anchors = self._start[self._violation(self._start) == 0]
        if len(anchors):
            rows = repaired(self._space, rows, anchors, lambda drawn: self._violation(drawn) == 0, self._rng)
        return np.concatenate([self._start, rows])

    def _children(self, most: int) -> tuple[Population, Positions]:
        """The child of every member that is new, keeps the limits and looks best; those that have none are left out."""
        parents = np.repeat(np.arange(len(self._members)), _DRAWN)
        rows = self._drawn(parents, most)
        violation = self._violation(rows)  # no cost depends on genes that are switched off: canonical rows can wait
        tried = np.flatnonzero((violation == 0) | (self._scores.violation[parents] > 0))
        rows, violation = self._space.canonical(rows[tried]), violation[tried]
        worth = self._effects.estimate(rows)
        broken = violation > 0
        if broken.any():
            worth[broken] = np.minimum(worth[broken], worth.min() - violation[broken])
        best = self._best_new(rows, worth, tried)
        best = best[self._asked.add_first(rows[best])]
        return rows[best].astype(np.int64), parents[tried[best]]

    def _drawn(self, parents: Positions, most: int) -> npt.NDArray[Any]:
        """A child of each, some begun as a crossover, with 1 to `most` genes changed; not canonical."""
        rng, genome = self._rng, self._space.genome
        members = self._members.astype(np.int16)  # small numbers: most of the time goes into moving them
        rows = members[parents]
        crossed = np.flatnonzero(rng.random(len(rows)) < _CROSSED)
        mates = members[rng.integers(len(members), size=len(crossed))]
        share = 0.5 * rng.random((len(crossed), 1), dtype=np.float32)
        rows[crossed] = np.where(rng.random(mates.shape, dtype=np.float32) < share, mates, rows[crossed])
        if len(self._variable):
            changes = rng.integers(1, most + 1, size=len(rows))
            gene = self._variable[rng.integers(len(self._variable), size=changes.sum())]
            place = np.repeat(np.arange(0, rows.size, rows.shape[1]), changes) + gene
            num = genome.num_options[gene]
            option = rows.take(place) + 1 + (rng.random(len(gene), dtype=np.float32) * (num - 1)).astype(np.int64)
            rows.put(place, np.where(option >= num, option - num, option))
        return rows

    def _best_new(self, rows: Population, worth: Floats, tried: Positions) -> Positions:
        """Positions of the child of most `worth` that was not asked yet, of every member that has one; `tried` are the
        places of `rows` among all children drawn.
        """
        place = np.full((len(self._members), _DRAWN), -1)
        place.ravel()[tried] = np.arange(len(tried))
        table = np.full(place.shape, -np.inf)
        table.ravel()[tried] = worth
        every = np.arange(len(table))
        best = table.argmax(axis=1)
        known = np.flatnonzero(np.isfinite(table[every, best]))
        known = known[~self._asked.new(rows[place[known, best[known]]])]  # only there the others are looked up
        others = place[known]
        table[known] = np.where(self._asked.new(rows[others]), table[known], -np.inf)
        best[known] = table[known].argmax(axis=1)
        return place[every, best][np.isfinite(table[every, best])]

    def _neighbours(self) -> Population:
        """What is new among the neighbours of the best network, and breaks the limits no more than it does."""
        rows = neighbours(self._space, self._best)
        return self._asked.add(rows[self._violation(rows) <= self._reached[0]])

    def _settle(self, population: Population, scores: Scores) -> None:
        """The best of the first generation are the members, and its spread sets the temperature."""
        best = np.resize(np.lexsort((-scores.objective, scores.violation))[: self._num], self._num)
        self._members, self._scores = population[best], Scores(scores.objective[best], scores.violation[best])
        kept = scores.violation == 0
        spread = float(scores.objective[kept if kept.sum() > 1 else slice(None)].std())
        self._scale = max(spread / np.sqrt(max(1, (self._space.genome.num_options > 1).sum())), 1e-12)
        self._copied_at = self._temperature

    def _replace(self, population: Population, scores: Scores) -> None:
        parents = self._parents
        gain = scores.objective - self._scores.objective[parents]
        luck = self._temperature * np.log1p(-self._rng.random(len(population)))
        nearer = scores.violation < self._scores.violation[parents]
        moved = nearer | ((scores.violation == self._scores.violation[parents]) & (gain > luck))
        self._members[parents[moved]] = population[moved]
        self._scores.objective[parents[moved]] = scores.objective[moved]
        self._scores.violation[parents[moved]] = scores.violation[moved]

    def _copy(self) -> None:
        """Draw the members anew, each as often as its objective makes it likelier now than at the last temperature."""
        objective, violation = self._scores.objective, self._scores.violation
        colder = 1.0 / self._temperature - 1.0 / self._copied_at
        kept = violation <= (0 if violation.min() == 0 else np.median(violation))
        worse = np.minimum(objective - objective[kept].max(), 0.0) if violation.min() == 0 else np.zeros(len(kept))
        weights = np.where(kept, np.exp(np.maximum(worse * colder, -700.0)), 0.0)
        shares = np.cumsum(weights) / weights.sum()
        places = (self._rng.random() + np.arange(len(weights))) / len(weights)  # systematic: least variance
        drawn = np.minimum(np.searchsorted(shares, places, side="right"), np.flatnonzero(kept)[-1])
        self._members, self._scores = self._members[drawn], Scores(objective[drawn], violation[drawn])
        self._copied_at = self._temperature

    def state(self) -> SearchState:
        arrays = {"members": self._members, "objective": self._scores.objective, "violation": self._scores.violation}
        arrays |= {"asked": self._asked.hashes, "best": self._best, "reached": np.array(self._reached)}
        values = {"generation": self._generation, "idle": self._idle, "rng": generator_state(self._rng)}
        temperature = {"scale": self._scale, "copied_at": self._copied_at}
        effects = self._effects.state()
        return SearchState(arrays | effects.arrays, values | temperature | effects.values)

    def restore(self, state: SearchState) -> None:
        arrays, values = state.arrays, state.values
        self._members, self._scores = arrays["members"], Scores(arrays["objective"], arrays["violation"])
        self._asked.restore(arrays["asked"])
        self._reached, self._best = (float(arrays["reached"][0]), float(arrays["reached"][1])), arrays["best"]
        self._generation, self._idle = values["generation"], values["idle"]
        self._scale, self._copied_at = values["scale"], values["copied_at"]
        self._rng = restored_generator(values["rng"])
        self._effects.restore(state)
