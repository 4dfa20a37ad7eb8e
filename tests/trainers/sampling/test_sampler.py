"""Subnets of a step: functions of (seed, phase, step, index) alone, uniform, and where the rule says so the ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from search_spaces import SearchSpace
from trainers.sampling.sampler import Sampler


def make(space: SearchSpace, rule: str = "random", **changes: object) -> Sampler:
    settings = {"space": space, "rule": rule, "num_random": 2, "seed": 3, "phase": 1} | changes
    return Sampler(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["largest", "random", "sandwich"])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("draw", ["genes", "networks", "stratified", "walk"])
def test_same_whatever_was_drawn_before(space: SearchSpace, rule: str, share: bool, draw: str) -> None:
    settings = {"share_resolution": share, "draw": draw, "num_rivals": 1 if draw == "walk" else 0}
    first, second = make(space, rule, **settings), make(space, rule, **settings)
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


def sizes_of(sampler: Sampler, steps: range) -> list[list[float]]:
    return [[sampler.place(s.architecture) for s in sampler.subnets(step) if s.role == "random"] for step in steps]


def test_stratified_subnets_are_spread_evenly_over_sizes(space: SearchSpace) -> None:
    """Each eighth of the scale of sizes is met about as often, at every time; drawn by genes the middle is crowded."""
    stratified = make(space, draw="stratified")
    for start in (0, 500):
        places = np.concatenate(sizes_of(stratified, range(start, start + 60)))
        counts = np.histogram(places, bins=8, range=(0, 1))[0]
        assert counts.min() >= 10, counts
    by_genes = np.histogram(np.concatenate(sizes_of(make(space), range(60))), bins=8, range=(0, 1))[0]
    assert by_genes.max() > 2 * counts.max() or by_genes.min() < 5


def test_walking_sizes_change_by_little_and_go_everywhere(space: SearchSpace) -> None:
    walk = make(space, draw="walk", jump=0.05)
    targets = [walk.target(step, 0) for step in range(3000)]
    assert np.abs(np.diff(targets)).max() <= 0.05 + 1e-12
    assert np.histogram(targets, bins=4, range=(0, 1))[0].min() > 300
    places = np.array(sizes_of(walk, range(1000, 1060)))
    free = np.array(sizes_of(make(space), range(1000, 1060)))
    assert np.abs(np.diff(places, axis=0)).mean() < 0.5 * np.abs(np.diff(free, axis=0)).mean()
    assert np.abs(places - np.array(targets[1000:1060])[:, None]).mean() < 0.03


def test_rivals_are_other_networks_of_about_the_same_size(space: SearchSpace) -> None:
    sampler = make(space, "sandwich", num_rivals=2)
    plain = make(space, "sandwich")
    for step in range(20):
        drawn, wanted = sampler.subnets(step), plain.subnets(step)
        assert [s.architecture for s in drawn] == [s.architecture for s in wanted], "rivals change no draw"
        assert [len(s.rivals) for s in drawn] == [0, 0, 2, 2]
        for subnet in drawn[2:]:
            assert len({subnet.architecture, *subnet.rivals}) == 3
            assert all(abs(sampler.place(r) - sampler.place(subnet.architecture)) < 0.12 for r in subnet.rivals)


def test_one_network_has_no_rivals(space: SearchSpace) -> None:
    alone = space.restrict({"kernel": [3], "expand": [2], "resolution": [16], "depth": [1]})
    assert alone.size == 1
    (subnet,) = make(alone, num_random=1, num_rivals=3, draw="stratified").subnets(0)
    assert subnet.rivals == () and make(alone).place(subnet.architecture) == 1.0
