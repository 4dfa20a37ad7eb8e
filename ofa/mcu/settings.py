"""How a network becomes one of int8."""

from __future__ import annotations

from typing import Literal

import pydantic

from search_spaces.common.settings import Settings


class QuantizationSettings(Settings):
    """Which ranges the values of a network get, and from how many images of the calibration split."""

    calibration: Literal["minmax", "percentile", "mse"] = "mse"
    percentile: float = pydantic.Field(default=99.99, gt=50, le=100)
    """Of each value's numbers, those at most the upper end of its range, and those at least the lower."""
    num_images: int = pydantic.Field(default=256, ge=1)
