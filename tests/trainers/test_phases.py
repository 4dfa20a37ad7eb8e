"""Recipes and the plan they make: sub-spaces nest, steps add up, proportions are the published ones."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from trainers.phases import Plan, make_plan
from trainers.settings import TrainSettings


def plan_of(space: SearchSpace, steps_per_epoch: int = 10, **train: Any) -> Plan:
    return make_plan(space, TrainSettings.model_validate(train), seed=0, steps_per_epoch=steps_per_epoch)


@pytest.fixture(scope="module")
def published() -> SearchSpace:
    return get_space({"name": "ofa_mobilenet_v3"})


def test_published_progressive_shrinking(published: SearchSpace) -> None:
    plan = plan_of(published, 100, recipe="progressive_shrinking", epochs=605, optimizer={"lr": 2.6})
    rows = [(p.settings.name, p.num_steps, p.warmup_steps, round(p.lr, 4), p.settings.num_subnets) for p in plan.phases]
    assert rows == [
        ("largest", 18000, 500, 2.6, 1),
        ("kernel", 12500, 500, 0.96, 1),
        ("depth_1", 2500, 0, 0.08, 2),
        ("depth_2", 12500, 500, 0.24, 2),
        ("expand_1", 2500, 0, 0.08, 4),
        ("expand_2", 12500, 500, 0.24, 4),
    ]
    assert [p.settings.sort_channels for p in plan.phases] == [False] * 4 + [True] * 2
    assert [p.settings.distillation for p in plan.phases] == ["none"] + ["teacher"] * 5
    assert plan.phases[0].space.size == 25  # one network at 25 resolutions
    assert plan.phases[1].space.size == 25 * 3**20
    assert plan.phases[2].space.size == 25 * (3**3 + 3**4) ** 5
    assert plan.phases[3].space.size == 25 * (3**2 + 3**3 + 3**4) ** 5
    assert plan.phases[4].space.size == 25 * (6**2 + 6**3 + 6**4) ** 5
    assert plan.phases[5].space.size == published.size


def test_every_phase_holds_the_one_before(space: SearchSpace) -> None:
    plan = plan_of(space, recipe="progressive_shrinking", epochs=9.7)
    assert [p.settings.name for p in plan.phases] == ["largest", "kernel", "depth_2", "expand_1", "expand_2"]
    for before, after in zip(plan.phases, plan.phases[1:], strict=False):
        assert before.space.size < after.space.size
        for step in range(20):
            after.space.encode([subnet.architecture for subnet in before.sampler.subnets(step)])  # raises if not of it
    assert plan.phases[-1].space.size == space.size
    assert plan.num_steps == 97
    assert [plan.phase_at(p.first_step).index for p in plan.phases] == list(range(5))
    assert [plan.phase_at(p.first_step + p.num_steps - 1).index for p in plan.phases] == list(range(5))


def test_coupled_spaces_shrink_too() -> None:
    compound = get_space({"name": "mobilenet_v3_compound", "resolution": [224]})
    plan = plan_of(compound, recipe="progressive_shrinking", epochs=10)
    sizes = [phase.space.size for phase in plan.phases]
    assert sizes[0] == 1 and sizes[-1] == 3**5 and sizes == sorted(set(sizes))


def test_share_of_subnets_and_weights_of_recipes(space: SearchSpace) -> None:
    (sandwich,) = plan_of(space, recipe="sandwich", epochs=3).phases
    assert len(sandwich.sampler.subnets(0)) == 4 and sandwich.label_weight == 0
    (random,) = plan_of(space, recipe="random_subnets", epochs=3, num_subnets=3).phases
    assert len(random.sampler.subnets(0)) == 3 and random.settings.distillation == "none"


def test_explicit_phases_and_max_steps(space: SearchSpace) -> None:
    phases = [
        {"name": "one", "epochs": 1, "restrict": {"kernel": [5]}, "sampling": "largest"},
        {"name": "two", "epochs": 0.5, "distillation": "teacher", "lr": 0.01, "weight_decay": 0},
    ]
    plan = plan_of(space, phases=phases, max_steps=12)
    assert plan.num_steps == 12 and [p.first_step for p in plan.phases] == [0, 10]
    assert (plan.phases[1].lr, plan.phases[1].weight_decay) == (0.01, 0)
    assert plan.phases[0].weight_decay == 3e-5 and plan.phases[1].label_weight == 1


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"phases": [{"name": "a", "epochs": 1, "restrict": {"kernel": [9]}}]}, "kernel: 9 is not an option"),
        ({"phases": [{"name": "a", "epochs": 1, "restrict": {"kernal": [3]}}]}, "Did you mean 'kernel'"),
        ({"phases": [{"name": "a", "epochs": 1, "distillation": "teacher"}]}, "first phase has no teacher"),
    ],
)
def test_mistakes(space: SearchSpace, train: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(space, **train)


def test_progressive_shrinking_of_residual_networks_opens_widths_last() -> None:
    plan = plan_of(get_space({"name": "ofa_resnet50"}), 10, recipe="progressive_shrinking", epochs=100)
    assert [phase.settings.name for phase in plan.phases] == [
        "largest",
        "depth_1",
        "depth_2",
        "expand_1",
        "expand_2",
        "width_1",
        "width_2",
    ]
    for phase in plan.phases:
        options = {gene.name: len(gene.options) for gene in phase.space.genes}
        opened = phase.settings.name.startswith("width")
        assert (options["width.2"] > 1) == opened
        assert (options["stem_depth"] > 1) == (phase.settings.name != "largest")
    assert plan.phases[-1].space.size == get_space({"name": "ofa_resnet50"}).size
