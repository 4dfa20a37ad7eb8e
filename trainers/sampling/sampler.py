"""Which subnets a step trains: a function of (seed, phase, step, index), the same on every rank and after a resume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from search_spaces import Architecture, SearchSpace
from search_spaces.genome import Population
from search_spaces.sizes import SizeScale

Role = Literal["largest", "smallest", "random"]
Draw = Literal["genes", "networks", "stratified", "walk"]

#: random networks that a pool of networks of all sizes starts from
_POOL = 24
_GOLDEN = (np.sqrt(5) - 1) / 2
#: steps of a walk that are drawn at once
_BLOCK = 1024
#: keys of random numbers that belong to a phase and to no step
_OFFSET, _WALK = 2**32, 2**32 + 1


@dataclass(frozen=True)
class Subnet:
    """An architecture to train, and why it was drawn. `rivals`: others of its size, of which one may take its place."""

    role: Role
    architecture: Architecture
    rivals: tuple[Architecture, ...] = ()


@dataclass(frozen=True)
class Sampler:
    """Draws the subnets of a phase from its (restricted) space.

    `draw` says which random subnets. `genes`: every gene uniform over its options (as published; a depth of 1 is as
    frequent as one of 4). `networks`: uniform over distinct networks (most of which are deep). `stratified`: over the
    scale of sizes, in a low-discrepancy sequence over steps. `walk`: the sizes of a step lie within `jump` of those of
    the step before, on a random walk that visits all sizes alike (after ElasticViT, https://arxiv.org/abs/2303.09730).

    `sandwich` puts the largest subnet first, where in-place distillation needs it (Yu and Huang,
    https://arxiv.org/abs/1903.05134). With `num_rivals` every random subnet comes with that many others of its size.
    With `share_resolution` the first random draw decides the resolution of all.
    """

    space: SearchSpace
    rule: Literal["largest", "random", "sandwich"]
    num_random: int
    seed: int
    phase: int
    share_resolution: bool = False
    draw: Draw = "genes"
    jump: float = 0.1
    num_rivals: int = 0

    def subnets(self, step: int) -> tuple[Subnet, ...]:
        if self.share_resolution and len(self._by_resolution) > 1:
            (drawn,) = self.space.decode(self._row(step, 0))
            return self._by_resolution[drawn.resolution].subnets(step)
        fixed = {"largest": self._ends[:1], "sandwich": self._ends, "random": ()}[self.rule]
        if self.rule == "largest":
            return fixed
        rows = self._rows(step)
        if not self.num_rivals:
            return fixed + tuple(Subnet("random", architecture) for architecture in self.space.decode(rows))
        return fixed + tuple(self._with_rivals(row, step, index) for index, row in enumerate(rows))

    def place(self, architecture: Architecture) -> float:
        """Where a subnet lies on the scale of sizes of the phase's space."""
        return float(self._scale.places(self.space.encode([architecture]))[0])

    def target(self, step: int, index: int) -> float:
        """The size that random subnet `index` of a stratified or walking draw is to have, on the scale of sizes."""
        if self.draw == "stratified":
            offset = float(self._rng(_OFFSET, 0).random())
            return float((offset + _GOLDEN * (step * self.num_random + index)) % 1.0)
        assert self.draw == "walk"
        return float(self._walk(step))

    def _rows(self, step: int) -> Population:
        return np.concatenate([self._row(step, index) for index in range(self.num_random)])

    def _row(self, step: int, index: int) -> Population:
        rng = self._rng(step, index)
        if self.draw in ("genes", "networks"):
            return self.space.sample(1, rng, uniform=self.draw == "networks")
        return self._scale.nearest(self.target(step, index), self._scale.pool(rng, num=_POOL))

    def _with_rivals(self, row: NDArray[np.int64], step: int, index: int) -> Subnet:
        rng = self._rng(step, self.num_random + index)
        pool = self._scale.pool(rng, num=_POOL)
        others = pool[(pool != row).any(axis=1)]
        place = float(self._scale.places(row[None])[0])
        nearest = self._scale.nearest(place, others, num=self.num_rivals) if len(others) else others
        own, *rivals = self.space.decode(np.concatenate([row[None], nearest]))
        return Subnet("random", own, tuple(rivals))

    def _walk(self, step: int) -> float:
        """A random walk reflected at 0 and 1, whose steps are uniform up to `jump`; started anywhere."""
        block, place = divmod(step, _BLOCK)
        start = sum(self._increments(before)[-1] for before in range(block))
        path = float(self._rng(_OFFSET, 0).random()) + start + self._increments(block)[place]
        return float(1.0 - abs(path % 2.0 - 1.0))

    def _increments(self, block: int) -> NDArray[np.float64]:
        if block not in self._known_increments:
            steps = self._rng(_WALK, block).uniform(-self.jump, self.jump, _BLOCK)
            self._known_increments[block] = np.cumsum(steps)
        return self._known_increments[block]

    def _rng(self, step: int, index: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, self.phase, step, index))))

    @cached_property
    def _known_increments(self) -> dict[int, NDArray[np.float64]]:
        return {}

    @cached_property
    def _scale(self) -> SizeScale:
        return SizeScale(self.space)

    @cached_property
    def _ends(self) -> tuple[Subnet, ...]:
        (largest,), (smallest,) = self.space.decode(self.space.largest()), self.space.decode(self.space.smallest())
        return Subnet("largest", largest), Subnet("smallest", smallest)

    @cached_property
    def _by_resolution(self) -> dict[int, Sampler]:
        return {
            resolution: replace(self, space=self.space.restrict(resolution=[resolution]), share_resolution=False)
            for resolution in self.space.genome.option_values("resolution").tolist()
        }
