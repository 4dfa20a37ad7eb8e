"""The MACs that a run says it spent are those that its operators carried out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import SearchSpace
from search_spaces.common.files import read_json, read_lines
from search_spaces.elastic.blocks import ElasticBlock
from search_spaces.supernet import build_supernet
from trainers import training
from trainers.accounting import PARTS, Ledger, Macs, StepCosts, planned_macs
from trainers.checkpoints.state import TrainingState
from trainers.data import image_data
from trainers.phases import Plan, make_plan
from trainers.sampling.sampler import Subnet
from trainers.settings.train import TrainingConfig, TrainSettings
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]


def plan_of(space: SearchSpace, **train: Any) -> Plan:
    return make_plan(space, TrainSettings.model_validate(train), seed=0, steps_per_epoch=7)


def costs_of(space: SearchSpace, plan: Plan) -> StepCosts:
    return StepCosts(space, plan, batch_size=16, micro_batch=8)


def test_one_subnet_costs_what_its_operators_compute(space: SearchSpace) -> None:
    """Counted on the layers of the extracted network: each gradient that a layer sends or keeps is one more product."""
    plan = plan_of(space, recipe="random_subnets", epochs=1)
    supernet = build_supernet(space, seed=0).train()
    counted = [0, 0]

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        macs = output.numel() * layer.weight[0].numel()
        counted[0] += macs
        counted[1] += macs * (int(layer.weight.requires_grad) + int(inputs[0].requires_grad))

    for step in range(4):
        (subnet,) = plan.phases[0].sampler.subnets(step)
        network = supernet.extract(subnet.architecture)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(count)
        counted[:] = [0, 0]
        network(torch.randn(16, 1, subnet.architecture.resolution, subnet.architecture.resolution))
        assert costs_of(space, plan).of(plan.phases[0], [subnet]) == Macs(counted[0], counted[1])


@pytest.mark.parametrize(
    "recipe", ["sandwich", "gradient_projection", "random_subnets", "compound", "attentive_sampling"]
)
def test_a_run_says_what_its_operators_carried_out(
    recipe: str, space: SearchSpace, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call of an elastic block is counted by its operator: what is shared by subnets runs, and counts, once."""
    config = make_config(recipe=recipe, epochs=1, num_subnets=3, dropout=0.0, log_every=1)
    counted = {True: 0, False: 0}

    def count(block: Any, inputs: Any, output: Any) -> None:
        x, operator = inputs
        counted[torch.is_grad_enabled()] += int(operator.macs()) * len(x)

    monkeypatch.setattr("trainers.milestones.evaluation_due", lambda *_: False)
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: count(module, inputs, output) if isinstance(module, ElasticBlock) else None
    )
    try:
        train(config, tmp_path)
    finally:
        handle.remove()
    cost = read_json(tmp_path / "supernet.json", "supernet")["cost"]
    assert cost["forward_macs"] == counted[True] > 0
    assert cost["selection_macs"] == counted[False]
    assert (cost["selection_macs"] > 0) == (recipe == "attentive_sampling")
    assert (cost["teacher_macs"] > 0) == (recipe == "compound")
    assert cost["images"] == 7 * 16 and 1.9 * cost["forward_macs"] < cost["backward_macs"] < 2 * cost["forward_macs"]
    assert cost["cpu_seconds"] > 0 and 0 < cost["wall_seconds"] < 120


def test_a_teacher_costs_a_forward_pass_at_every_resolution(space: SearchSpace) -> None:
    plan = plan_of(space, recipe="compound", epochs=3)
    phase = plan.phases[-1]
    low, high = (space.restrict(resolution=[side]) for side in (12, 16))
    both = [Subnet("random", part.decode(part.smallest())[0]) for part in (low, high)]
    wanted = 16 * sum(int(part.cost("macs").maximum()[0]) for part in (low, high))
    assert costs_of(space, plan).of(phase, both).teacher == wanted
    assert costs_of(space, plan).of(phase, [both[0], both[0]]).teacher == 16 * int(low.cost("macs").maximum()[0])


@pytest.mark.parametrize("recipe", ["sandwich", "progressive_shrinking", "stratified_subnets"])
def test_a_plan_foretells_what_the_run_spends(
    recipe: str, space: SearchSpace, make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config(recipe=recipe, epochs=3, dropout=0.0, log_every=1)
    train(config, tmp_path)
    cost = read_json(tmp_path / "supernet.json", "supernet")["cost"]
    plan = make_plan(space, config.train, seed=0, steps_per_epoch=7)
    planned = planned_macs(space, plan, batch_size=16, micro_batch=8)
    assert planned == Macs(*(cost[f"{key}_macs"] for key in ("forward", "backward", "teacher", "selection")))
    last = [line for line in read_lines(tmp_path / "training.jsonl", "log") if line["kind"] == "step"][-1]
    assert last["macs"] == planned.total


def test_the_ledger_goes_on_after_an_interruption() -> None:
    ledger = Ledger()
    ledger.add(Macs(3, 6, 1, 2), 16)
    stored = ledger.to_json()
    again = Ledger.from_json(stored)
    again.add(Macs(1, 2, 0, 0), 16)
    found = again.to_json()
    assert [found[f"{key}_macs"] for key in ("forward", "backward", "teacher", "selection")] == [4, 8, 1, 2]
    assert found["images"] == 32 and found["wall_seconds"] >= stored["wall_seconds"]


def test_parts_of_a_step_add_up_over_interruptions() -> None:
    ledger = Ledger()
    for part in PARTS:
        time.sleep(0.01)
        ledger.mark(part)
    stored = ledger.to_json()
    assert all(seconds >= 0.009 for seconds in stored["seconds"].values())
    assert sum(stored["seconds"].values()) == pytest.approx(stored["wall_seconds"], abs=0.01)
    again = Ledger.from_json(stored)
    again.mark("data")
    assert again.to_json()["seconds"]["data"] >= stored["seconds"]["data"]
    assert again.to_json()["seconds"]["optimizer"] == stored["seconds"]["optimizer"]
    del stored["seconds"]
    assert set(Ledger.from_json(stored).seconds.values()) == {0.0}  # a checkpoint of before there were parts


@pytest.mark.slow
def test_slow_images_and_slow_updates_are_told_apart(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def slowly(real: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def slow(*args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds)
            return real(*args, **kwargs)

        return slow

    monkeypatch.setattr(image_data, "augment", slowly(image_data.augment, 0.2))
    monkeypatch.setattr(TrainingState, "update", slowly(TrainingState.update, 0.1))
    monkeypatch.setattr(training.Evaluations, "run", slowly(training.Evaluations.run, 0.3))
    train(make_config(epochs=1), tmp_path)
    cost = read_json(tmp_path / "supernet.json", "supernet")["cost"]
    seconds = cost["seconds"]
    assert list(seconds) == list(PARTS)
    for part, slept in (("data", 7 * 0.2), ("optimizer", 7 * 0.1), ("pauses", 0.3)):
        assert seconds[part] >= slept
    assert sum(seconds.values()) == pytest.approx(cost["wall_seconds"], abs=0.05)
    assert seconds["selection"] < seconds["data"] and seconds["forward_backward"] > 0
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shares = [event.value for event in events.Scalars("data_share")]
    assert len(shares) == 3 and all(0 < share < 1 for share in shares)
