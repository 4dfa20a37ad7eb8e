"""One inference by torch, as it is timed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ofa.export.forms.base import Predict


def torch_call(predict: Predict, input_shape: tuple[int, int, int]) -> Callable[[], object]:
    """Each call computes the logits of one image (1, *input_shape), the same every time."""
    image = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0))

    def call() -> object:
        with torch.inference_mode():
            return predict(image)

    return call
