"""What the optimiser side does once a step, against the plain way of doing it."""

from __future__ import annotations

import copy

import pytest
import torch

from search_spaces import SearchSpace
from search_spaces.supernet import build_supernet
from trainers.optim import AverageUpdate, make_ema, make_optimizer, make_scheduler, set_learning_rate
from trainers.phases import make_plan
from trainers.settings.train import OptimizerSettings, TrainSettings
from trainers.step import seed_device


def test_the_average_is_that_of_timm(space: SearchSpace) -> None:
    settings = TrainSettings(recipe="sandwich", ema_decay=0.6)
    supernet = build_supernet(space, seed=0)
    ema = make_ema(supernet, settings)
    assert ema is not None
    wanted, update = copy.deepcopy(ema), AverageUpdate(ema, supernet)
    for step in range(4):
        with torch.no_grad():
            for number, tensor in enumerate(supernet.state_dict().values()):
                tensor.add_(number % 5 + step)
        update(step)
        wanted.update(supernet, step=step)
    found = ema.module.state_dict()
    for name, tensor in wanted.module.state_dict().items():
        assert torch.equal(found[name], tensor), name
    assert not torch.equal(next(ema.module.parameters()), next(supernet.parameters()))


def test_seeding_one_device_draws_what_seeding_all_does() -> None:
    torch.manual_seed(5)
    wanted = torch.nn.functional.dropout(torch.ones(50))
    seed_device(torch.device("cpu"), 5)
    assert torch.equal(torch.nn.functional.dropout(torch.ones(50)), wanted)


def test_the_rate_falls_off_from_block_to_block(space: SearchSpace) -> None:
    optimizer = OptimizerSettings(name="adamw", lr=0.01, weight_decay=0.1, layer_decay=0.5)
    settings = TrainSettings(recipe="sandwich", epochs=2, optimizer=optimizer)
    supernet = build_supernet(space, seed=0)
    (phase,) = make_plan(space, settings, seed=0, steps_per_epoch=10).phases
    made = make_optimizer(supernet, phase, settings)
    lr = set_learning_rate(make_scheduler(made, phase, settings), phase, 3)
    rates = {id(parameter): group["lr"] for group in made.param_groups for parameter in group["params"]}
    assert len(rates) == len(list(supernet.parameters()))
    for early, slot in enumerate(reversed(supernet.slots.values())):
        for parameter in slot.parameters():
            assert rates[id(parameter)] == pytest.approx(lr * 0.5**early)
    assert 0 < lr < phase.lr
