"""Weights of classes in the label loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch

from search_spaces.common.errors import UserError

ClassWeights: TypeAlias = Literal["balanced"] | tuple[float, ...]


def class_weights(setting: ClassWeights, counts: Sequence[int]) -> torch.Tensor:
    """(K,) float32 weights whose mean over the training images is 1, so that learning rates keep their meaning.

    `counts`: training images of each class, at least one. `balanced` weighs a class by its inverse frequency, so that
    all classes weigh the same in sum; of a list only the proportions count. Raises `UserError` for a list of another
    length.
    """
    images = torch.tensor(counts, dtype=torch.float64)
    if setting == "balanced":
        weights = 1 / images
    elif len(setting) == len(counts):
        weights = torch.tensor(setting, dtype=torch.float64)
    else:
        message = f"has {len(setting)} weights for {len(counts)} classes"
        raise UserError(message, key="train.class_weights", value=list(setting))
    return (weights * images.sum() / (weights * images).sum()).float()
