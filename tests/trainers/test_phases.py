"""Recipes and the plan they make: sub-spaces nest, steps add up, proportions are the published ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.optim import make_scheduler, set_learning_rate
from trainers.phases import Plan, make_plan
from trainers.sampling.sampler import Subnet
from trainers.settings.train import TrainSettings


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


def test_progressive_shrinking_of_transformers_opens_blocks_then_embeddings() -> None:
    """Depth, then all that belongs to a block (from softmax attention, most heads, widest, dense), then the width."""
    plan = plan_of(get_space({"name": "vit_nano"}), 10, recipe="progressive_shrinking", epochs=100)
    options = {
        phase.settings.name: {
            name: phase.space.genome.option_values(name).tolist()
            for name in ("depth", "keep.0", "attention.0", "heads.0", "mlp_rank.0", "embed")
        }
        for phase in plan.phases
    }
    largest = {
        "depth": [6],
        "keep.0": [1],
        "attention.0": ["softmax"],
        "heads.0": [4],
        "mlp_rank.0": [1],
        "embed": [96],
    }
    assert list(options) == ["largest", "depth_1", "depth_2", "expand_1", "expand_2", "width_1", "width_2"]
    assert options["largest"] == largest
    assert options["depth_2"] == largest | {"depth": [3, 4, 6]}
    assert options["expand_1"]["attention.0"] == ["softmax", "linear"]
    assert options["expand_1"]["keep.0"] == [0.5, 1]
    assert options["expand_2"]["mlp_rank.0"] == [0.25, 0.5, 1] and options["expand_2"]["embed"] == [96]
    assert options["width_2"]["embed"] == [48, 64, 96]


def test_bounded_jumps_train_the_dense_layers_of_transformers() -> None:
    space = get_space({"name": "vit_nano"}, 10)
    (phase,) = plan_of(space, 10, epochs=2, recipe="bounded_jumps").phases
    assert phase.space.size == space.restrict(attention_rank=[1], mlp_rank=[1]).size < space.size
    low = get_space({"name": "vit_nano", "attention_rank": [0.5], "mlp_rank": [0.25, 0.5]}, 10)
    (phase,) = plan_of(low, 10, epochs=2, recipe="bounded_jumps").phases
    assert phase.space.size == low.size


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


def test_a_phase_that_continues_has_the_schedule_of_the_one_before(space: SearchSpace) -> None:
    """The learning rates of delayed shrinking are those of one long phase."""
    train = {"epochs": 6, "optimizer": {"lr": 0.4}, "schedule": {"warmup_epochs": 1}}
    delayed, whole = plan_of(space, recipe="delayed_shrinking", **train), plan_of(space, recipe="sandwich", **train)
    assert [(p.settings.sampling, p.num_steps) for p in delayed.phases] == [("largest", 30), ("sandwich", 30)]

    def rates(plan: Plan) -> list[float]:
        settings, weight = TrainSettings(recipe="sandwich"), nn.Linear(1, 1)
        found = []
        for step in range(plan.num_steps):
            phase = plan.phase_at(step)
            scheduler = make_scheduler(torch.optim.SGD(weight.parameters(), lr=phase.lr), phase, settings)
            found.append(set_learning_rate(scheduler, phase, step))
        return found

    assert rates(delayed) == rates(whole)


def test_rates_decay_by_complexity(space: SearchSpace) -> None:
    """The rate of a subnet, as a share of the peak, is the shared one to the power of its exponent."""
    (phase,) = plan_of(
        space,
        recipe="complexity_decay",
        epochs=4,
        each_phase={"decay": {"smallest": 1.5, "largest": 0.5}},
        optimizer={"lr": 0.4},
        schedule={"warmup_epochs": 1},
    ).phases
    ends = [Subnet("largest", a) for a in space.decode(np.stack([space.smallest(), space.largest()]))]
    assert phase.gradient_weights(ends, step=9, lr=0.1) == [1.0, 1.0], "warm-up is left alone"
    weights = phase.gradient_weights(ends, step=20, lr=0.1)
    assert weights is not None
    assert [0.1 / 0.4 * weight for weight in weights] == pytest.approx([0.25**1.5, 0.25**0.5])
    (plain,) = plan_of(space, recipe="random_subnets", epochs=4).phases
    assert plain.gradient_weights(ends, step=20, lr=0.1) is None


def test_recipes_are_combined_through_each_phase(space: SearchSpace) -> None:
    plan = plan_of(
        space, recipe="delayed_shrinking", epochs=4, each_phase={"divergence": "alpha", "draw": "walk", "jump": 0.2}
    )
    largest, shrinking = (phase.settings for phase in plan.phases)
    assert (largest.divergence, largest.draw) == ("kl", "genes"), "a phase of the largest subnet has no random ones"
    assert (shrinking.divergence, shrinking.draw, shrinking.jump) == ("alpha", "walk", 0.2)
    assert shrinking.continues and plan.phases[1].sampler.jump == 0.2


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"recipe": "sandwich", "each_phase": {"drow": "walk"}}, r"each_phase.drow.*Did you mean 'draw'"),
        ({"recipe": "sandwich", "each_phase": {"epochs": 3}}, r"each_phase.epochs.*recipe's own"),
        ({"phases": [{"name": "a", "epochs": 1}], "each_phase": {"draw": "walk"}}, "changes the phases of a recipe"),
        ({"phases": [{"name": "a", "epochs": 1, "conflicts": "project"}]}, "needs the largest subnet in every step"),
        ({"phases": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1, "continues": True, "lr": 1}]}, "continues"),
        ({"phases": [{"name": "a", "epochs": 1, "continues": True}]}, "none before it to go on with"),
    ],
)
def test_mistakes_in_combinations(space: SearchSpace, train: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(space, parse_settings(TrainSettings, train, prefix="train"), seed=0, steps_per_epoch=10)


def test_random_recipe_with_in_place_distillation_is_refused_when_the_plan_is_made(space: SearchSpace) -> None:
    with pytest.raises(UserError, match="needs the largest subnet in every step"):
        plan_of(space, recipe="random_subnets", each_phase={"distillation": "in_place"})
