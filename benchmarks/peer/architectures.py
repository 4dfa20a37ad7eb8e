"""The same subnets for both sides: drawn in this project's space, told to the peer in its own form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from search_spaces import Architecture, SearchSpace, get_space

SPACE = "ofa_mobilenet_v3"


def space_of(resolutions: Sequence[int] | None = None, num_classes: int = 1000, **settings: Any) -> SearchSpace:
    """The published MobileNetV3 space, at other resolutions if these are given."""
    resolution = {} if resolutions is None else {"resolution": list(resolutions)}
    return get_space({"name": SPACE, **resolution, **settings}, num_classes=num_classes)


def draw(space: SearchSpace, num: int, *, seed: int) -> list[Architecture]:
    """Random subnets, every gene uniform over its options, as both sides draw them in training."""
    return space.decode(space.sample(num, np.random.default_rng(seed), uniform=False))


def at(architecture: Architecture, resolution: int) -> Architecture:
    """The same network for images of another size."""
    return Architecture({**architecture.values, "resolution": resolution})


def ours(architectures: Sequence[Architecture]) -> list[dict[str, Any]]:
    return [architecture.to_json() for architecture in architectures]


def theirs(architectures: Sequence[Architecture]) -> list[dict[str, Any]]:
    """`{ks, e, d, r}`. The peer ignores the entries of blocks beyond the depth, but wants something to stand there."""
    return [_peer_form(architecture.values) for architecture in architectures]


def _peer_form(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "ks": [7 if kernel is None else kernel for kernel in values["kernel"]],
        "e": [6 if expand is None else expand for expand in values["expand"]],
        "d": list(values["depth"]),
        "r": [values["resolution"]],
    }
