"""`ofa.space`, `ofa.sample`: what can be built, and which networks a training step takes."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from search_spaces import Architecture, SearchSpace, get_space

if TYPE_CHECKING:
    from trainers.sampling.sampler import Draw, Sampler


def space(name: str, *, num_classes: int = 1000, in_channels: int = 3, **settings: Any) -> SearchSpace:
    """The search space of that name (`ofa spaces` lists them), with `settings` of its family put over the preset.

    `ofa.space("mobilenet_v3_digits", num_classes=10, in_channels=1, resolution=[20, 28])`. The setting `restrict` takes
    options away: `restrict={"kernel": [3, 5]}`. Raises `UserError` for an unknown name or setting.
    """
    return get_space({"name": name, **settings}, num_classes=num_classes, in_channels=in_channels)


def sample(
    space: SearchSpace,
    *,
    step: int,
    rule: Literal["largest", "random", "sandwich"] = "sandwich",
    num_random: int = 2,
    draw: Draw = "genes",
    seed: int = 0,
) -> tuple[Architecture, ...]:
    """The architectures that a training step takes: a function of (seed, step), the same on every process.

    The sandwich rule (Yu and Huang, https://arxiv.org/abs/1903.05134) takes the largest network first, then the
    smallest, then `num_random` others; `random` only these, `largest` only the largest. `draw` says how these are
    drawn, see `trainers.sampling.sampler.Sampler`. Train each on the same images and add up the gradients.
    """
    return tuple(subnet.architecture for subnet in _sampler(space, rule, num_random, draw, seed).subnets(step))


@lru_cache(maxsize=16)
def _sampler(
    space: SearchSpace, rule: Literal["largest", "random", "sandwich"], num_random: int, draw: Draw, seed: int
) -> Sampler:
    """One a space: it remembers the largest and the smallest network."""
    from trainers.sampling.sampler import Sampler

    return Sampler(space, rule, num_random, seed, phase=0, draw=draw)
