"""A step with mixed images, weighted classes and accumulated gradients, whoever computes which part of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import SearchSpace
from search_spaces.supernet import Supernet, build_supernet
from trainers.data.resize import resize_batch
from trainers.objective.losses import distillation_loss, label_loss
from trainers.objective.mixing import Mixing
from trainers.optim import freeze_running_statistics, set_regularisation
from trainers.phases import Phase, make_plan
from trainers.processes.distributed import World
from trainers.sampling.sampler import Subnet
from trainers.settings.mixing import MixingSettings
from trainers.settings.train import TrainSettings
from trainers.step import StepSettings, accumulate_gradients

WEIGHTS = torch.tensor([0.5, 2.0, 1.0])


class _Rank(World):
    """A process whose partners are not there."""

    def sum_(self, tensors: Any) -> None:
        pass


def world(rank: int = 0, size: int = 1) -> World:
    return _Rank(rank=rank, size=size, device=torch.device("cpu"))


@pytest.fixture
def supernet(space: SearchSpace) -> Supernet:
    supernet = build_supernet(space, seed=0).train()
    set_regularisation(supernet, TrainSettings(recipe="sandwich", dropout=0.0))
    freeze_running_statistics(supernet)
    return supernet


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 1, 16, 16, generator=generator), torch.randint(3, (8,), generator=generator)


@pytest.fixture
def in_place(space: SearchSpace) -> Phase:
    phases = [{"name": "all", "epochs": 1, "sampling": "sandwich", "distillation": "in_place"}]
    train = TrainSettings.model_validate({"phases": phases})
    return make_plan(space, train, seed=0, steps_per_epoch=5).phases[0]


def settings_of(phase: Phase, *, micro_batch: int = 2, mixing: Mixing | None = None, **changes: Any) -> StepSettings:
    return StepSettings(
        phase=phase,
        batch_size=8,
        micro_batch=micro_batch,
        label_smoothing=0.1,
        channels_last=False,
        autocast=None,
        random_layers=False,
        seed=0,
        mixing=mixing,
        **changes,
    )


def gradients(supernet: Supernet) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad(set_to_none=True)
    return found


def assert_equal(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys() and found
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


def test_processes_share_a_mixed_batch(supernet: Supernet, batch: tuple[Tensor, Tensor], in_place: Phase) -> None:
    """What one, two and four processes compute on their rows adds up to the same."""
    mixing = Mixing(MixingSettings(mixup=0.8, cutmix=1.0, probability=0.8), 3, seed=0)
    settings = settings_of(in_place, mixing=mixing, class_weights=WEIGHTS)
    subnets = in_place.sampler.subnets(0)
    totals: list[dict[str, Tensor]] = []
    for size in (1, 2, 4):
        total: dict[str, Tensor] = {}
        for rank in range(size):
            images, labels = (tensor.chunk(size)[rank] for tensor in batch)
            accumulate_gradients(
                supernet, None, subnets, images, labels, step=0, settings=settings, world=world(rank, size)
            )
            for name, gradient in gradients(supernet).items():
                total[name] = total.get(name, torch.zeros_like(gradient)) + gradient
        totals.append(total)
    assert_equal(totals[1], totals[0])
    assert_equal(totals[2], totals[0])
    plain = settings_of(in_place, class_weights=WEIGHTS)
    accumulate_gradients(supernet, None, subnets, *batch, step=0, settings=plain, world=world())
    name = "slots.classifier.linear.bias"
    assert not torch.allclose(gradients(supernet)[name], totals[0][name], rtol=0.01)


def test_loss_of_mixed_images_written_out(supernet: Supernet, batch: tuple[Tensor, Tensor], in_place: Phase) -> None:
    """Every subnet sees the mixture: the largest against mixed labels, the others against what it says of the same."""
    mixing = Mixing(MixingSettings(cutmix=1.0), 3, seed=5)
    settings = settings_of(in_place, micro_batch=8, mixing=mixing, class_weights=WEIGHTS)
    subnets = in_place.sampler.subnets(0)
    losses = accumulate_gradients(supernet, None, subnets, *batch, step=3, settings=settings, world=world())
    supernet.zero_grad(set_to_none=True)
    images, targets = mixing(*batch, step=3, group=0)
    logits = [supernet(resize_batch(images, s.architecture.resolution), s.architecture).detach() for s in subnets]
    wanted = [label_loss(logits[0], targets, 0.1, WEIGHTS)]
    wanted += [distillation_loss(some, logits[0]) for some in logits[1:]]
    torch.testing.assert_close(losses, torch.stack(wanted) / 8)


def test_a_teacher_sees_the_mixture(space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor]) -> None:
    phases = [{"name": "first", "epochs": 1}, {"name": "second", "epochs": 1, "distillation": "teacher"}]
    plan = make_plan(space, TrainSettings.model_validate({"phases": phases}), seed=0, steps_per_epoch=5)
    seen: list[Tensor] = []

    class Teacher(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.mean((1, 2, 3))[:, None].expand(-1, 3)

    mixing = Mixing(MixingSettings(mixup=1.0), 3, seed=0)
    settings = settings_of(plan.phases[1], micro_batch=4, mixing=mixing)
    subnets: tuple[Subnet, ...] = tuple(plan.phases[1].sampler.subnets(6))
    accumulate_gradients(supernet, Teacher(), subnets, *batch, step=6, settings=settings, world=world())
    assert len(seen) == 2
    for group, rows in enumerate((slice(0, 4), slice(4, 8))):
        images, _ = mixing(batch[0][rows], batch[1][rows], step=6, group=group)
        assert torch.equal(seen[group], resize_batch(images, subnets[0].architecture.resolution))


@pytest.mark.parametrize("micro_batch", [1, 2, 4])
def test_micro_batches_accumulate_the_gradient_of_the_batch(
    supernet: Supernet, batch: tuple[Tensor, Tensor], in_place: Phase, micro_batch: int
) -> None:
    """But for the statistics of batch norm, fixed here, it makes no difference into how many passes a batch is cut."""
    supernet.eval()
    subnets = in_place.sampler.subnets(0)
    results = []
    for size in (8, micro_batch):
        settings = settings_of(in_place, micro_batch=size, class_weights=WEIGHTS)
        losses = accumulate_gradients(supernet, None, subnets, *batch, step=0, settings=settings, world=world())
        results.append((losses, gradients(supernet)))
    torch.testing.assert_close(results[1][0], results[0][0])
    assert_equal(results[1][1], results[0][1])
