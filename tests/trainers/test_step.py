"""One step: gradients add up over subnets and micro-batches, teachers see what students see, processes share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.supernet import Supernet, build_supernet
from trainers.data.resize import resize_batch
from trainers.objective.losses import distillation_loss, label_loss
from trainers.optim import freeze_running_statistics, make_ema, make_optimizer, make_scheduler, set_learning_rate
from trainers.phases import Phase, make_plan
from trainers.processes.distributed import World, autocast_dtype, find_device
from trainers.settings.train import TrainSettings
from trainers.step import StepSettings, accumulate_gradients, choose_subnets

ALONE = World(rank=0, size=1, device=torch.device("cpu"))


def phase_of(space: SearchSpace, **phase: Any) -> Phase:
    train = TrainSettings.model_validate(
        {"phases": [{"name": "first", "epochs": 1}, {"name": "tested", "epochs": 1, **phase}]}
    )
    return make_plan(space, train, seed=0, steps_per_epoch=5).phases[1]


def settings_of(phase: Phase, **changes: Any) -> StepSettings:
    fields = {"batch_size": 8, "micro_batch": 4, "label_smoothing": 0.1, "channels_last": False, "autocast": None}
    return StepSettings(**{**fields, "phase": phase, "random_layers": False, "seed": 0, **changes})  # type: ignore[arg-type]


@pytest.fixture
def supernet(space: SearchSpace) -> Supernet:
    supernet = build_supernet(space, seed=0).train()
    supernet.requires_grad_(True)
    freeze_running_statistics(supernet)
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return supernet


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 1, 16, 16, generator=generator), torch.randint(3, (8,), generator=generator)


def gradients(supernet: Supernet) -> dict[str, Tensor]:
    found = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad(set_to_none=True)
    return found


def assert_equal_gradients(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys() and found
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("distillation", ["none", "in_place", "teacher"])
def test_gradient_is_that_of_the_written_out_loss(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor], distillation: str
) -> None:
    sampling = "random" if distillation == "teacher" else "sandwich"
    phase = phase_of(space, distillation=distillation, sampling=sampling, num_subnets=2, distillation_weight=0.7)
    teacher = (
        nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 3)) if distillation == "teacher" else None
    )
    subnets = phase.sampler.subnets(7)
    images, labels = batch
    losses = accumulate_gradients(
        supernet, teacher, subnets, images, labels, step=7, settings=settings_of(phase), world=ALONE
    )
    found = gradients(supernet)

    total = torch.zeros(len(subnets))
    for rows in (slice(0, 4), slice(4, 8)):
        largest = None
        for number, subnet in enumerate(subnets):
            x = resize_batch(images[rows], subnet.architecture.resolution)
            logits = supernet(x, subnet.architecture)
            hard = label_loss(logits, labels[rows], 0.1)
            if distillation == "teacher":
                assert teacher is not None
                loss = hard + 0.7 * distillation_loss(logits, teacher(x))
            elif distillation == "in_place" and largest is not None:
                loss = 0.7 * distillation_loss(logits, largest)
            else:
                loss = hard
            if subnet.role == "largest":
                largest = logits
            total[number] = total[number] + loss / 8
    total.sum().backward()
    assert_equal_gradients(found, gradients(supernet))
    torch.testing.assert_close(losses, total.detach())


def test_shares_of_processes_add_up(space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor]) -> None:
    """What two processes compute on their rows sums to what one computes on all, with dropout on."""
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    phase = phase_of(space, sampling="sandwich", distillation="in_place", num_subnets=1)
    settings = settings_of(phase, random_layers=True)
    images, labels = batch
    subnets = phase.sampler.subnets(5)

    def run(rank: int, rows: slice) -> dict[str, Tensor]:
        world = _Silent(rank=rank, size=2, device=torch.device("cpu"))
        accumulate_gradients(
            supernet, None, subnets, images[rows], labels[rows], step=5, settings=settings, world=world
        )
        return gradients(supernet)

    accumulate_gradients(supernet, None, subnets, images, labels, step=5, settings=settings, world=ALONE)
    whole = gradients(supernet)
    first, second = run(0, slice(0, 4)), run(1, slice(4, 8))
    assert_equal_gradients({name: first[name] + second[name] for name in first}, whole)


class _Silent(World):
    """A process whose partners are not there."""

    def sum_(self, tensors: Any) -> None:
        pass


def test_running_statistics_stay_as_they_are(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    before = {name: buffer.clone() for name, buffer in supernet.named_buffers()}
    phase = phase_of(space, sampling="sandwich")
    accumulate_gradients(
        supernet, None, phase.sampler.subnets(5), *batch, step=5, settings=settings_of(phase), world=ALONE
    )
    for name, buffer in supernet.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_share_of_the_global_batch() -> None:
    worlds = [World(rank=rank, size=2, device=torch.device("cpu")) for rank in range(2)]
    assert [world.share(32, 8) for world in worlds] == [slice(0, 16), slice(16, 32)]
    with pytest.raises(UserError, match=r"1 micro-batches of 32 images .* Set train.micro_batch to 16"):
        worlds[0].share(32, 32)
    with pytest.raises(UserError, match=r"train\.batch_size to a multiple of 2"):
        worlds[0].share(15, 15)


def test_ema_follows_and_starts_at_the_weights(supernet: Supernet) -> None:
    ema = make_ema(supernet, TrainSettings(recipe="sandwich", ema_decay=0.5))
    assert ema is not None
    name, parameter = next(iter(supernet.named_parameters()))
    averaged = dict(ema.module.named_parameters())[name]
    values = []
    for step in range(12):
        with torch.no_grad():
            parameter.fill_(float(step))
        ema.update(supernet, step=step)
        values.append(averaged.flatten()[0].item())
    assert values[1] == 1.0  # the first update forgets the initial weights
    assert values[-1] == pytest.approx(0.5 * values[-2] + 0.5 * 11)


def test_weight_decay_spares_biases_and_norms(space: SearchSpace, supernet: Supernet) -> None:
    settings = TrainSettings(recipe="sandwich", epochs=1)
    phase = make_plan(space, settings, seed=0, steps_per_epoch=4).phases[0]
    optimizer = make_optimizer(supernet, phase, settings)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    for name, parameter in supernet.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1), name


def test_schedule_warms_up_then_falls_to_the_end(space: SearchSpace, supernet: Supernet) -> None:
    settings = TrainSettings.model_validate(
        {"recipe": "sandwich", "epochs": 10, "optimizer": {"lr": 0.4}, "schedule": {"warmup_epochs": 2, "min_lr": 0.01}}
    )
    phase = make_plan(space, settings, seed=0, steps_per_epoch=4).phases[0]
    scheduler = make_scheduler(make_optimizer(supernet, phase, settings), phase, settings)
    rates = [set_learning_rate(scheduler, phase, step) for step in range(phase.num_steps)]
    assert rates[:8] == sorted(rates[:8]) and rates[8:] == sorted(rates[8:], reverse=True)
    assert rates[0] == pytest.approx(0.4 * 0.5 / 8) and max(rates) == pytest.approx(0.4, rel=0.01)
    assert rates[-1] == pytest.approx(0.004, rel=0.2)
    assert set_learning_rate(scheduler, phase, 3) == rates[3]  # a function of the step, whatever came before


def test_devices_and_precision() -> None:
    cpu = torch.device("cpu")
    assert autocast_dtype("auto", cpu) is None and autocast_dtype("off", cpu) is None
    assert autocast_dtype("bf16", cpu) is torch.bfloat16
    for name in ("gpu", "mps", "cuda:99"):
        with pytest.raises(UserError, match=r"train\.device"):
            find_device(name)


@pytest.mark.parametrize("twice", [True, False])
def test_operators_in_common_are_computed_once_and_change_nothing(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor], twice: bool
) -> None:
    """Losses and gradients are the sums over the subnets trained one by one."""
    phase = phase_of(space, sampling="random", num_subnets=4)
    subnets = phase.sampler.subnets(phase.first_step)
    if twice:
        subnets = tuple(subnet for subnet in subnets for _ in range(2))
    settings = settings_of(phase, channels_last=True)
    calls: list[int] = []
    supernet.slots["stem"].register_forward_hook(lambda *_: calls.append(1))
    together = accumulate_gradients(supernet, None, subnets, *batch, step=0, settings=settings, world=ALONE)
    num_stems = len(calls)
    found = gradients(supernet)
    alone = torch.zeros(len(subnets))
    for number, subnet in enumerate(subnets):
        alone[number] = accumulate_gradients(
            supernet, None, [subnet], *batch, step=0, settings=settings, world=ALONE
        ).item()
    assert_equal_gradients(found, gradients(supernet))
    torch.testing.assert_close(together, alone)
    assert num_stems == 2 * len({subnet.architecture.resolution for subnet in subnets})


def test_projection_changes_only_what_conflicts(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    """The gradient is that of the largest subnet and of the others, computed apart and joined by hand."""
    phase = phase_of(space, sampling="sandwich", num_subnets=2, conflicts="project")
    plain = phase_of(space, sampling="sandwich", num_subnets=2)
    subnets = phase.sampler.subnets(7)

    def gradient(phase: Phase, chosen: Any) -> dict[str, Tensor]:
        accumulate_gradients(supernet, None, chosen, *batch, step=7, settings=settings_of(phase), world=ALONE)
        found = gradients(supernet)
        return {n: found.get(n, torch.zeros_like(p)) for n, p in supernet.named_parameters()}

    largest, others = gradient(plain, subnets[:1]), gradient(plain, subnets[1:])
    conflicts = []
    for flipped in (1.0, -1.0):  # once they agree, and once they conflict
        weights = [flipped, 1.0, 1.0, 1.0]
        accumulate_gradients(
            supernet, None, subnets, *batch, step=7, settings=settings_of(phase), world=ALONE, weights=weights
        )
        found = gradients(supernet)
        dot = flipped * sum(torch.sum(largest[name] * others[name]) for name in others)
        along = min(float(dot / sum(torch.sum(g * g) for g in others.values())), 0.0)
        conflicts.append(along < 0)
        wanted = {name: flipped * largest[name] + (1 - along) * others[name] for name in others}
        assert_equal_gradients(found, {name: wanted[name] for name in found})
    assert sorted(conflicts) == [False, True]


def test_weights_scale_gradients_and_not_losses(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor]
) -> None:
    phase = phase_of(space, sampling="random", num_subnets=2)
    subnets = phase.sampler.subnets(7)

    def run(weights: list[float] | None) -> tuple[Tensor, dict[str, Tensor]]:
        losses = accumulate_gradients(
            supernet, None, subnets, *batch, step=7, settings=settings_of(phase), world=ALONE, weights=weights
        )
        return losses, gradients(supernet)

    (losses, both), (same, doubled) = run(None), run([2.0, 2.0])
    torch.testing.assert_close(losses, same)
    assert_equal_gradients(doubled, {name: 2 * gradient for name, gradient in both.items()})
    _, first = run([1.0, 0.0])
    _, second = run([0.0, 1.0])
    assert_equal_gradients(both, {name: first[name] + second[name] for name in both})


@pytest.mark.parametrize(("by", "better"), [("best", min), ("worst", max)])
def test_attentive_sampling_trains_the_rival_with_that_loss(
    space: SearchSpace, supernet: Supernet, batch: tuple[Tensor, Tensor], by: str, better: Any
) -> None:
    phase = phase_of(space, sampling="sandwich", num_subnets=2, attentive={"by": by, "of": 4})
    drawn = phase.sampler.subnets(7)
    chosen = choose_subnets(supernet, drawn, *batch, settings=settings_of(phase), world=ALONE)
    assert [subnet.role for subnet in chosen] == [subnet.role for subnet in drawn] and chosen[:2] == drawn[:2]
    for before, after in zip(drawn[2:], chosen[2:], strict=True):
        candidates = [before.architecture, *before.rivals]
        assert sorted(a.key for a in (after.architecture, *after.rivals)) == sorted(a.key for a in candidates)
        with torch.no_grad():
            losses = [
                label_loss(supernet(resize_batch(batch[0][:4], a.resolution), a), batch[1][:4], 0.1).item()
                for a in candidates
            ]
        assert losses[candidates.index(after.architecture)] == better(losses)
    assert supernet.training and all(module.training for module in supernet.modules())
