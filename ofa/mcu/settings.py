"""How a network becomes one of int8: the `quantization` section of a config."""

from __future__ import annotations

from typing import Literal

import pydantic

from search_spaces.common.settings import Settings


class QuantizationSettings(Settings):
    """Which ranges the values of a network get, from how many images of the calibration split, and whether its weights
    are trained on for them.
    """

    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: float = pydantic.Field(default=99.99, gt=50, le=100)
    """Of each value's numbers, those at most the upper end of its range, and those at least the lower."""
    num_images: int = pydantic.Field(default=256, ge=1)
    finetune_epochs: float = pydantic.Field(default=0, ge=0)
    """Epochs of quantisation-aware training before, distilled from the network itself; 0 leaves it as it is."""
    finetune_lr: float = pydantic.Field(default=1e-4, gt=0)
    finetune_batch_size: int = pydantic.Field(default=64, ge=1)
