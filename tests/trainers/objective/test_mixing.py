"""Mixup and cutmix: labels in the proportion of the pixels, the same whoever asks and in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.objective.mixing import Mixing
from trainers.settings.mixing import MixingSettings
from trainers.settings.train import TrainSettings

NUM_CLASSES = 5


def mixing(seed: int = 0, **settings: Any) -> Mixing:
    return Mixing(MixingSettings(**settings), NUM_CLASSES, seed)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    """Every image is 1 in the plane of its own class and 0 in the others."""
    labels = torch.tensor([0, 1, 2, 3, 4, 1, 0, 2])
    planes = torch.nn.functional.one_hot(labels, NUM_CLASSES).float()
    return planes[:, :, None, None].expand(-1, -1, 12, 12).clone(), labels


@pytest.mark.parametrize("settings", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_labels_are_the_shares_of_the_pixels(batch: tuple[Tensor, Tensor], settings: dict[str, Any]) -> None:
    mix = mixing(**settings)
    num_mixed = 0
    for step in range(20):
        images, targets = mix(*batch, step=step, group=0)
        assert targets.shape == (8, NUM_CLASSES) and targets.dtype == torch.float32
        torch.testing.assert_close(images.mean((2, 3)), targets)
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        num_mixed += bool(((targets > 0.01) & (targets < 0.99)).any())
    assert num_mixed > 10
    assert torch.equal(batch[0].amax((2, 3)), batch[0].amin((2, 3)))  # what came in is as it was


def test_step_group_and_seed_decide(batch: tuple[Tensor, Tensor]) -> None:
    mix = mixing(mixup=1.0, cutmix=1.0)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = mix(*batch, step=4, group=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    mix(*batch, step=5, group=0)
    again = mixing(mixup=1.0, cutmix=1.0)(*batch, step=4, group=2)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    others = [mix(*batch, step=5, group=2), mix(*batch, step=4, group=3)]
    others.append(mixing(1, mixup=1.0, cutmix=1.0)(*batch, step=4, group=2))
    assert not any(torch.equal(first[0], other[0]) for other in others)


@pytest.mark.parametrize(("switch", "uncut"), [(0.0, 40), (1.0, 0), (0.25, 30)])
def test_switch_is_the_share_of_cutmix(batch: tuple[Tensor, Tensor], switch: float, uncut: int) -> None:
    mix = mixing(mixup=8.0, cutmix=1.0, switch=switch)  # proportions near a half: no pixel of a mixup is 0 or 1
    mixed_up = 0
    for step in range(40):
        images, _ = mix(*batch, step=step, group=0)
        mixed_up += bool(((images > 0.01) & (images < 0.99)).any())
    assert abs(mixed_up - uncut) <= (8 if 0 < switch < 1 else 0)


def test_probability_is_the_share_of_mixed_groups(batch: tuple[Tensor, Tensor]) -> None:
    images, labels = batch
    mix = mixing(mixup=1.0, probability=0.3)
    results = [mix(images, labels, step=0, group=group) for group in range(200)]
    untouched = [result for result in results if result[1].ndim == 1]
    assert 0.6 < len(untouched) / len(results) < 0.8
    assert all(result[0] is images and result[1] is labels for result in untouched)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"mixing": {}}, r"mixing: neither mixup nor cutmix is above 0"),
        ({"mixing": {"mixup": -1}}, r"mixing\.mixup: .*greater than or equal to 0"),
        ({"mixing": {"mixup": 0.2, "probability": 0}}, r"mixing\.probability"),
        ({"mixing": {"mix_up": 0.2}}, r"mixing\.mix_up: unknown key.*Did you mean 'mixup'"),
        ({"mixing": {"mixup": 0.2}, "micro_batch": 1}, r"mixing: a single image .*micro_batch"),
        ({"class_weights": [0, 0]}, r"class_weights: weights are at least 0, and one of them is more"),
        ({"class_weights": [1, -1]}, r"class_weights: weights are at least 0"),
        ({"class_weights": "balance"}, r"class_weights: .*'balanced'"),
    ],
)
def test_mistakes(train: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_settings(TrainSettings, {"recipe": "sandwich", **train})
