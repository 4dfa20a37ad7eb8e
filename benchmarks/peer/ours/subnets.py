"""Sampling, describing, extracting and counting subnets in this project. There is nothing to activate: a supernet is a
function of images and architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.peer.architectures import space_of
from benchmarks.peer.clock import timed
from search_spaces import Architecture
from search_spaces.supernet import Supernet, build_supernet

Described = Sequence[Mapping[str, Any]]


class Subnets:
    """Width 1.0, 1000 classes, all published resolutions."""

    def __init__(self) -> None:
        self.supernet = build_supernet(space_of(), seed=0)

    def sample(self, num: int, seed: int) -> dict[str, Any]:
        """`num` random subnets at once, as rows of a population: what searching and counting work on."""
        rng = np.random.default_rng(seed)
        seconds, _ = timed(lambda: self.supernet.space.sample(num, rng, uniform=False))
        return {"seconds": seconds, "count": num}

    def sample_architectures(self, num: int, seed: int) -> dict[str, Any]:
        """`num` random subnets at once, as `Architecture`s: what a supernet is called with."""
        space, rng = self.supernet.space, np.random.default_rng(seed)
        seconds, _ = timed(lambda: space.decode(space.sample(num, rng, uniform=False)))
        return {"seconds": seconds, "count": num}

    def describe(self, subnets: Described) -> dict[str, Any]:
        """The operators of every subnet, in order."""
        space, chosen = space_of(), _architectures(subnets)
        seconds, _ = timed(lambda: [space.network(architecture) for architecture in chosen])
        return {"seconds": seconds, "count": len(chosen)}

    def extract(self, subnets: Described) -> dict[str, Any]:
        """Plain networks with weights of their own."""
        return _extracted(self.supernet, subnets, share=False)

    def extract_shared(self, subnets: Described) -> dict[str, Any]:
        """Plain networks that share their weights with the supernet."""
        return _extracted(self.supernet, subnets, share=True)

    def extract_shared_at_first(self, subnets: Described) -> dict[str, Any]:
        """The same from a supernet that no subnet was extracted from before."""
        return _extracted(build_supernet(space_of(), seed=0), subnets, share=True)


def _extracted(supernet: Supernet, subnets: Described, *, share: bool) -> dict[str, Any]:
    supernet.space = space_of()  # which has described no subnet yet
    chosen = _architectures(subnets)

    def run() -> None:
        for architecture in chosen:
            supernet.extract(architecture, share=share)

    return {"seconds": timed(run)[0], "count": len(chosen)}


def _architectures(subnets: Described) -> list[Architecture]:
    return [Architecture(subnet) for subnet in subnets]


load = Subnets
