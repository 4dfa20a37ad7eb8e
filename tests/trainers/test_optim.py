"""What the optimiser side does once a step, against the plain way of doing it."""

from __future__ import annotations

import copy

import torch

from search_spaces import SearchSpace
from search_spaces.supernet import build_supernet
from trainers.optim import AverageUpdate, make_ema
from trainers.settings.train import TrainSettings
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
