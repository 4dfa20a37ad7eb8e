"""Which subnets a step trains: a function of (seed, phase, step, index), the same on every rank and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from search_spaces import Architecture, SearchSpace
from search_spaces.genome import Population

Role = Literal["largest", "smallest", "random"]


@dataclass(frozen=True)
class Subnet:
    """An architecture to train, and why it was drawn."""

    role: Role
    architecture: Architecture


@dataclass(frozen=True)
class Sampler:
    """Draws the subnets of a phase from its (restricted) space.

    `draw` says what is uniform: `genes`, every gene over its options (as published; a depth of 1 is as frequent as
    one of 4), or `networks`, distinct networks (most of which are deep). `sandwich` puts the largest subnet first,
    where in-place distillation needs it (Yu and Huang, https://arxiv.org/abs/1903.05134). With `share_resolution`
    the first random draw decides the resolution of all.
    """

    space: SearchSpace
    rule: Literal["largest", "random", "sandwich"]
    num_random: int
    seed: int
    phase: int
    share_resolution: bool = False
    draw: Literal["genes", "networks"] = "genes"

    def subnets(self, step: int) -> tuple[Subnet, ...]:
        if self.share_resolution and len(self._by_resolution) > 1:
            (drawn,) = self.space.decode(self._sample(step, 0))
            return self._by_resolution[drawn.resolution].subnets(step)
        fixed = {"largest": self._ends[:1], "sandwich": self._ends, "random": ()}[self.rule]
        num_random = 0 if self.rule == "largest" else self.num_random
        if num_random == 0:
            return fixed
        rows = [self._sample(step, index) for index in range(num_random)]
        return fixed + tuple(Subnet("random", architecture) for architecture in self.space.decode(np.concatenate(rows)))

    def _sample(self, step: int, index: int) -> Population:
        return self.space.sample(1, self._rng(step, index), uniform=self.draw == "networks")

    def _rng(self, step: int, index: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence((self.seed, self.phase, step, index))))

    @cached_property
    def _ends(self) -> tuple[Subnet, ...]:
        (largest,), (smallest,) = self.space.decode(self.space.largest()), self.space.decode(self.space.smallest())
        return Subnet("largest", largest), Subnet("smallest", smallest)

    @cached_property
    def _by_resolution(self) -> dict[int, Sampler]:
        return {
            resolution: Sampler(
                space=self.space.restrict(resolution=[resolution]),
                rule=self.rule,
                num_random=self.num_random,
                seed=self.seed,
                phase=self.phase,
                draw=self.draw,
            )
            for resolution in self.space.genome.option_values("resolution").tolist()
        }
