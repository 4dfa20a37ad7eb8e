"""Subnets of a step: functions of (seed, phase, step, index) alone, uniform, and where the rule says so the ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from search_spaces import SearchSpace
from trainers.sampler import Sampler


def make(space: SearchSpace, rule: str = "random", **changes: object) -> Sampler:
    settings = {"space": space, "rule": rule, "num_random": 2, "seed": 3, "phase": 1} | changes
    return Sampler(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["largest", "random", "sandwich"])
@pytest.mark.parametrize("share", [False, True])
def test_same_whatever_was_drawn_before(space: SearchSpace, rule: str, share: bool) -> None:
    first, second = make(space, rule, share_resolution=share), make(space, rule, share_resolution=share)
    forwards = [first.subnets(step) for step in range(12)]
    backwards = [second.subnets(step) for step in reversed(range(12))]
    assert forwards == backwards[::-1]
    if rule != "largest":
        assert len(set(forwards)) > 6


def test_every_part_of_the_key_matters(space: SearchSpace) -> None:
    base = make(space)
    drawn = [s.subnets(5) for s in (base, replace(base, seed=4), replace(base, phase=2))] + [base.subnets(6)]
    assert len(set(drawn)) == 4
    first, second = base.subnets(5)
    assert first != second


def test_sandwich_starts_with_the_largest(space: SearchSpace) -> None:
    subnets = make(space, "sandwich").subnets(0)
    assert [subnet.role for subnet in subnets] == ["largest", "smallest", "random", "random"]
    assert [subnets[0].architecture] == space.decode(space.largest())
    assert [subnets[1].architecture] == space.decode(space.smallest())


def test_random_subnets_are_uniform_over_distinct_networks(space: SearchSpace) -> None:
    small = space.restrict({"kernel": [3], "expand": [2], "resolution": [16]})
    assert small.size == 4
    counts = Counter(s.architecture for step in range(400) for s in make(small, draw="networks").subnets(step))
    assert len(counts) == 4 and all(150 < count < 250 for count in counts.values())


def test_random_genes_are_uniform_over_their_options(space: SearchSpace) -> None:
    """Shallow networks are few; drawn by networks they would hardly ever be trained."""
    drawn = [s.architecture.values["depth"][0] for step in range(400) for s in make(space).subnets(step)]  # type: ignore[index]
    counts = Counter(drawn)
    assert len(counts) == 2 and all(330 < count < 470 for count in counts.values())
    by_network = Counter(
        s.architecture.values["depth"][0]  # type: ignore[index]
        for step in range(400)
        for s in make(space, draw="networks").subnets(step)
    )
    assert by_network[1] < 330


def test_shared_resolution(space: SearchSpace) -> None:
    sampler = make(space, "sandwich", share_resolution=True)
    seen = set()
    for step in range(20):
        (resolution,) = {subnet.architecture.resolution for subnet in sampler.subnets(step)}
        seen.add(resolution)
    assert seen == {12, 16}
