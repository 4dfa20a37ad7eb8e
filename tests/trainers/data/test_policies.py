"""RandAugment, TrivialAugment and AutoAugment: torchvision's operations, by the numbers of each image alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.data.policies import find_policy
from trainers.settings.data import AugmentSettings

POLICIES: list[dict[str, Any]] = [
    {"random_augment": {"num_ops": 3, "magnitude": 12}},
    {"trivial_augment": True},
    {"auto_augment": "cifar10"},
    {"auto_augment": "imagenet"},
    {"auto_augment": "svhn"},
]


def batch(channels: int, num: int = 16) -> torch.Tensor:
    values = np.random.default_rng(0).integers(0, 256, (num, channels, 12, 12), np.uint8)
    return torch.from_numpy(values)


def uniforms(num: int = 16, seed: int = 1) -> Any:
    return np.random.default_rng(seed).random((num, 2), np.float32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("settings", POLICIES)
def test_an_image_depends_on_its_own_numbers_alone(settings: dict[str, Any], channels: int) -> None:
    policy = find_policy(AugmentSettings.model_validate(settings))
    assert policy is not None
    x, numbers = batch(channels), uniforms()
    torch.manual_seed(4)
    before = torch.get_rng_state()
    whole = policy.batch(x.clone(), numbers)
    assert torch.equal(torch.get_rng_state(), before)
    assert whole.shape == x.shape and whole.dtype == torch.uint8
    order = np.random.default_rng(2).permutation(16)
    assert torch.equal(policy.batch(x[order].clone(), numbers[order]), whole[order])
    for row in (0, 7):
        single = policy.image(x[row].numpy().transpose(1, 2, 0), numbers[row])
        assert np.array_equal(single, whole[row].numpy().transpose(1, 2, 0))
    assert torch.equal(x, batch(channels))
    assert (whole != x).flatten(1).any(1).sum() >= 8  # most images change
    others = policy.batch(x.clone(), uniforms(seed=2))
    assert (others != whole).flatten(1).any(1).sum() >= 8


def test_settings_reach_the_operations() -> None:
    """One operation of the least magnitude is one of those that magnitude does not weaken, or none."""
    x = batch(3, 64)
    weak = find_policy(AugmentSettings.model_validate({"random_augment": {"num_ops": 1, "magnitude": 0}}))
    assert weak is not None
    result = weak.batch(x.clone(), uniforms(64))
    possible = [x, v2.functional.autocontrast(x), v2.functional.equalize(x)]
    matches = torch.stack([(result == candidate).flatten(1).all(1) for candidate in possible])
    # solarizing at 255 inverts the white pixels only, and is the one exception
    assert (matches.any(0) | ((result != x).float().mean((1, 2, 3)) < 0.02)).all()
    assert not matches[0].all() and matches[0].sum() > 30


def test_evaluation_and_statistics_see_images_as_they_are(load: Any) -> None:
    plain, changed = (
        load(num_images=60, num_classes=3, image_size=12, augment=augment)
        for augment in ({}, {"trivial_augment": True})
    )
    assert (plain.mean, plain.std) == (changed.mean, changed.std)
    for split in ("train", "selection"):
        for one, other in zip(plain.batches(split, batch_size=8), changed.batches(split, batch_size=8), strict=True):
            assert torch.equal(one[0], other[0])
    assert not torch.equal(*(data.train_step(step=0, batch_size=8)[0] for data in (plain, changed)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"random_augment": {}, "trivial_augment": True}, r"random_augment and trivial_augment exclude each other"),
        ({"auto_augment": "imagenett"}, r"auto_augment: must be 'imagenet', 'cifar10' or 'svhn'"),
        ({"random_augment": {"magnitude": 31}}, r"random_augment\.magnitude: .*less than or equal to 30"),
        ({"random_augment": {"ops": 3}}, r"random_augment\.ops: unknown key.*num_ops"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_settings(AugmentSettings, settings)
