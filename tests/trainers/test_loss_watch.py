"""What counts as an exploding loss, and what never does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json
from trainers import training
from trainers.checkpoints.store import checkpoint_steps
from trainers.data import ImageData
from trainers.loss_watch import Fault, LossWatch, StepRecord
from trainers.phases import Phase, make_plan
from trainers.settings.train import TrainingConfig
from trainers.training import train

MakeConfig = Callable[..., TrainingConfig]


@pytest.fixture
def phase(make_config: MakeConfig, space: SearchSpace) -> Phase:
    settings = make_config(phases=[{"name": "all", "epochs": 9, "sampling": "random"}]).train
    return make_plan(space, settings, seed=0, steps_per_epoch=100).phases[0]


def feed(watch: LossWatch, phase: Phase, losses: Sequence[float], *, start: int = 0) -> Fault | None:
    """The first fault of steps with these losses."""
    for step, loss in enumerate(losses, start=start):
        subnets = phase.sampler.subnets(step)
        record = StepRecord(step, phase, 0.1, subnets, torch.tensor([loss]), torch.tensor(1.0))
        fault = watch.check(record, [loss], 1.0)
        if fault is not None:
            return fault
    return None


def test_a_healthy_training_is_left_alone(phase: Phase) -> None:
    """From a bad start down to almost nothing, with batches that are ten times as hard as others."""
    falling = [3 * math.log(10) * 0.97**step * (10 if step % 17 == 16 and step > 40 else 1) for step in range(400)]
    watch = LossWatch(num_classes=10, factor=10.0)
    assert feed(watch, phase, falling) is None
    assert falling[-1] < 1e-3 and feed(watch, phase, [1.0, 5.0, 11.0], start=400) is None


def test_an_explosion_is_found(phase: Phase) -> None:
    fault = feed(LossWatch(num_classes=1000, factor=10.0), phase, [6.9, 40.0, 70.0])
    assert fault is not None and fault.bad_from == 2 and fault.limit == pytest.approx(10 * math.log(1000))
    fault = feed(LossWatch(num_classes=10, factor=10.0), phase, [2.0] * 30 + [19.0, 21.0])
    assert fault is not None and fault.bad_from == 31 and (fault.median, fault.limit) == (2.0, 20.0)
    assert fault.failing is not None and fault.failing["role"] == "random"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_no_number_is_a_fault_without_any_limit(phase: Phase, loss: float) -> None:
    watch = LossWatch(num_classes=10, factor=None)
    assert feed(watch, phase, [1e6]) is None
    fault = feed(watch, phase, [loss], start=1)
    assert fault is not None and fault.failing is not None and fault.failing["loss"] == str(loss)


def test_a_gradient_that_is_no_number(phase: Phase) -> None:
    """The weights that gave it are good; those it leads to are not."""
    record = StepRecord(7, phase, 0.1, phase.sampler.subnets(7), torch.tensor([1.0]), torch.tensor(math.inf))
    fault = LossWatch(num_classes=10, factor=10.0).check(record, [1.0], math.inf)
    assert fault is not None and fault.bad_from == 8 and "gradient became inf" in fault.what


def test_distilled_losses_are_sums(phase: Phase) -> None:
    settings = phase.settings.model_copy(update={"distillation": "teacher", "distillation_weight": 3.0})
    assert feed(LossWatch(num_classes=10, factor=10.0), replace(phase, settings=settings), [80.0]) is None
    assert feed(LossWatch(num_classes=10, factor=10.0), phase, [80.0]) is not None


def test_a_phase_starts_afresh(phase: Phase) -> None:
    watch = LossWatch(num_classes=2, factor=10.0)
    assert feed(watch, phase, [0.1] * 30) is None
    later = replace(phase, index=1)
    assert feed(watch, later, [5.0], start=30) is None
    assert feed(watch, phase, [0.1] * 30 + [5.0]) is not None


def test_interruptions_do_not_change_the_judgement(phase: Phase) -> None:
    whole, before, after = (LossWatch(num_classes=10, factor=10.0) for _ in range(3))
    losses = [2.0 - step / 100 for step in range(60)]
    feed(whole, phase, losses)
    feed(before, phase, losses[:25])
    after.restore(json.loads(json.dumps(before.state())))
    feed(after, phase, losses[25:], start=25)
    assert after.state() == whole.state()


@pytest.fixture
def explode_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`explode_at(step)`: the update of that step throws the weights far away, with nothing wrong in its losses."""
    real = training.TrainingState.update

    def explode_at(step: int) -> None:
        def exploding(self: training.TrainingState, phase: Phase, number: int) -> torch.Tensor:
            grad_norm = real(self, phase, number)
            if number == step:
                with torch.no_grad():
                    self.parameters[-2].mul_(1e5)
            return grad_norm

        monkeypatch.setattr(training.TrainingState, "update", exploding)

    return explode_at


@pytest.mark.parametrize("keep", [1, 2])
def test_an_exploded_state_is_never_kept(
    make_config: MakeConfig,
    tmp_path: Path,
    data: ImageData,
    explode_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    keep: int,
) -> None:
    """The weights explode in step 5, the checkpoint of 6 steps is written, and step 6 shows that it is a bad one."""
    settings: dict[str, Any] = {"checkpoint_every": 2, "keep_checkpoints": keep}
    explode_at(5)
    with pytest.raises(
        UserError, match=r"loss of the largest subnet .* \(limit .*at step 6 .*\(synthetic image \d+, synthetic image"
    ) as error:
        train(make_config(**settings), tmp_path)
    assert "step 4, from before, is kept" in str(error.value)
    assert checkpoint_steps(tmp_path / "checkpoints") == [4]
    told = read_json(tmp_path / "failure.json", "failure")
    assert (told["step"], told["phase"], told["last_good_checkpoint"]) == (6, "sandwich", 4)
    assert told["failing"]["role"] == "largest" and told["failing"]["loss"] > told["loss_limit"] > 0
    assert [subnet["role"] for subnet in told["subnets"]] == ["largest", "smallest", "random", "random"]
    assert told["learning_rate"] > 0 and told["gradient_norm"] > 0
    indices = [image["index"] for image in told["images"]]
    assert indices == data.step_images(step=6, batch_size=16).tolist() and len(set(indices)) == 16
    monkeypatch.undo()
    train(make_config(**settings), tmp_path)
    train(make_config(), tmp_path / "calm")
    found = [read_json(run / "supernet.json", "supernet")["weights_sha256"] for run in (tmp_path, tmp_path / "calm")]
    assert found[0] == found[1] and not (tmp_path / "failure.json").exists()


def test_weights_that_are_no_numbers_are_not_saved(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = training.TrainingState.update

    def breaking(self: training.TrainingState, phase: Phase, step: int) -> torch.Tensor:
        grad_norm = real(self, phase, step)
        if step == 3:
            with torch.no_grad():
                self.parameters[0].fill_(math.inf)
        return grad_norm

    monkeypatch.setattr(training.TrainingState, "update", breaking)
    with pytest.raises(UserError, match=r"update of the weights made some of them infinite .* at step 3"):
        train(make_config(checkpoint_every=2), tmp_path)
    assert checkpoint_steps(tmp_path / "checkpoints") == [2]
    assert read_json(tmp_path / "failure.json", "failure")["failing"] is None


def test_images_are_named_as_the_data_set_names_them(make_config: MakeConfig, tmp_path: Path) -> None:
    from PIL import Image

    from trainers.data.names import image_names
    from trainers.settings.data import DataSettings

    for name in ("cats/1.png", "cats/2.png", "dogs/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    settings = DataSettings.model_validate({"name": "image_folder", "path": tmp_path / "photos", "image_size": 8})
    assert image_names(settings, [2, 0]) == [str(tmp_path / "photos" / name) for name in ("dogs/1.png", "cats/1.png")]
    (tmp_path / "photos").rename(tmp_path / "gone")
    assert image_names(settings, [2]) == ["image 2"]
