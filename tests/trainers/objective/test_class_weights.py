"""Class weights: what they are, and that they reach the loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json
from trainers.objective.class_weights import ClassWeights, class_weights
from trainers.objective.losses import label_loss
from trainers.settings.train import TrainingConfig
from trainers.training import train

COUNTS = (60, 30, 10)


def test_balanced_classes_weigh_the_same_in_sum() -> None:
    weights = class_weights("balanced", COUNTS)
    torch.testing.assert_close(weights * torch.tensor(COUNTS), torch.full((3,), 100 / 3))


def test_only_proportions_count() -> None:
    weights = class_weights((1, 2, 5), COUNTS)
    torch.testing.assert_close(weights / weights[0], torch.tensor([1.0, 2.0, 5.0]))
    assert torch.equal(weights, class_weights((2, 4, 10), COUNTS))
    assert (weights * torch.tensor(COUNTS)).sum().item() == pytest.approx(100)


@pytest.mark.parametrize("setting", ["balanced", (1, 2, 5), (0, 1, 0)])
def test_over_all_images_it_is_the_weighted_mean_of_torch(setting: ClassWeights) -> None:
    """Divided by the number of images, however they are cut; torch divides by the weights that a batch has."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    labels = labels[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    logits, weights = torch.randn(100, 3), class_weights(setting, COUNTS)
    torch_mean = functional.cross_entropy(logits, labels, weight=weights)
    for size in (100, 10, 7):
        parts = zip(logits.split(size), labels.split(size), strict=True)
        total = sum(label_loss(some, their, 0.0, weights) / 100 for some, their in parts)
        torch.testing.assert_close(total, torch_mean)


def test_weights_reach_the_training(make_config: Callable[..., TrainingConfig], tmp_path: Path) -> None:
    """Equal weights train the same network to the bit, others another one, and their number must be right."""
    digests = []
    for number, weights in enumerate((None, [3, 3, 3], [1, 2, 3])):
        train(make_config(max_steps=2, class_weights=weights), tmp_path / str(number))
        digests.append(read_json(tmp_path / str(number) / "supernet.json", "supernet")["weights_sha256"])
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(UserError, match=r"train\.class_weights: has 2 weights for 3 classes"):
        train(make_config(max_steps=2, class_weights=[1, 2]), tmp_path / "wrong")
