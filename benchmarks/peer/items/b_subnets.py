"""b: sampling, activating, describing and extracting subnets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peer import architectures
from benchmarks.peer.item import Comparison, Item, Lane, Options, Part

#: At least so many times the peer's rate.
WANTED = 20


def items(options: Options) -> list[Item]:
    return [_sample(options), _extract(options)]


def _sample(options: Options) -> Item:
    num, num_theirs = (1000, 100) if options.short else (100_000, 5000)
    described = 100 if options.short else 1000
    ours, theirs = _drawn(described)
    return Item(
        key="b-sample",
        title="sampling, activating and describing subnets, MobileNetV3 width 1.0",
        parts={"peer": Part("theirs", "subnets"), "ours": Part("ours", "subnets")},
        lanes=[
            Lane("peer-sample", "peer, sample_active_subnet", "peer", "sample", _seeded(num_theirs)),
            Lane("ours-sample", "ours, rows of a population", "ours", "sample", _seeded(num)),
            Lane("ours-objects", "ours, Architecture objects", "ours", "sample_architectures", _seeded(num_theirs)),
            Lane("peer-activate", "peer, set_active_subnet", "peer", "activate", theirs),
            Lane("peer-describe", "peer, set_active_subnet and get_active_net_config", "peer", "describe", theirs),
            Lane("ours-describe", "ours, operators of an architecture", "ours", "describe", ours),
        ],
        comparisons=[
            Comparison("sampling", "ours-sample", "peer-sample", "rate", WANTED),
            Comparison("sampling, as objects", "ours-objects", "peer-sample", "rate", WANTED),
            Comparison("activating (ours needs the operators once)", "ours-describe", "peer-activate", "rate"),
            Comparison("full configuration", "ours-describe", "peer-describe", "rate"),
        ],
        repeats=2 if options.short else 9,
        minutes=1,
    )


def _extract(options: Options) -> Item:
    num = 4 if options.short else 40
    ours, theirs = _drawn(num)
    lanes = [
        Lane("peer", "peer, get_active_subnet with weights", "peer", "extract", theirs),
        Lane("ours", "ours, a copy of the weights", "ours", "extract", ours),
        Lane("shared", "ours, sharing the supernet's weights", "ours", "extract_shared", ours),
        Lane("shared-first", "ours, sharing, the first of a supernet", "ours", "extract_shared_at_first", ours),
    ]
    comparisons = [
        Comparison("extraction with weights", "ours", "peer", "rate", WANTED),
        Comparison("extraction, sharing weights", "shared", "peer", "rate", WANTED),
        Comparison("extraction, sharing weights, at first", "shared-first", "peer", "rate"),
    ]
    return Item(
        key="b-extract",
        title=f"extracting {num} subnets, MobileNetV3 width 1.0",
        parts={"peer": Part("theirs", "subnets"), "ours": Part("ours", "subnets")},
        lanes=lanes,
        comparisons=comparisons,
        repeats=2 if options.short else 9,
        minutes=0.6,
    )


Inputs = Callable[[int], dict[str, Any]]


def _drawn(num: int) -> tuple[Inputs, Inputs]:
    """The same subnets for both sides, other ones in every repetition."""
    space = architectures.space_of()

    def ours(repetition: int) -> dict[str, Any]:
        return {"subnets": architectures.ours(architectures.draw(space, num, seed=repetition))}

    def theirs(repetition: int) -> dict[str, Any]:
        return {"subnets": architectures.theirs(architectures.draw(space, num, seed=repetition))}

    return ours, theirs


def _seeded(num: int) -> Inputs:
    return lambda repetition: {"num": num, "seed": repetition}
