"""The integer reference gives an image the same numbers in a batch as alone: all kernels, batches of any shape."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.lowering import lower
from search_spaces import get_space
from search_spaces.plain import build_network, trace


class Pools(nn.Module):
    """Maxima, averages over an edge, strides, squeeze-excite, clamped and looked-up sums, a layer norm of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU6(), nn.MaxPool2d(3, 2, 1))
        self.pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
        self.depth = nn.Conv2d(6, 6, 5, padding=2, groups=6)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 1), nn.Hardsigmoid())
        self.clamp, self.act, self.flatten, self.linear = nn.ReLU(), nn.SiLU(), nn.Flatten(), nn.Linear(6, 4)
        self.mean = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        y = self.clamp(x + self.depth(x))
        y = self.gate(y) * y
        out: Tensor = self.linear(self.flatten(self.mean(self.act(y))))
        return out


def transformer() -> fx.GraphModule:
    settings = {"attention": ["softmax"], "keep": [1], "selects": [], "patch": [8], "depth": [3]}
    space = get_space({"name": "vit_nano", **settings}, 10, 3)
    (architecture,) = space.decode(space.sample(1, np.random.default_rng(0)))
    return build_network(space, architecture)


def convolutional() -> fx.GraphModule:
    space = get_space({"name": "mobilenet_v3_digits", "resolution": [20]}, 10, 3)
    return build_network(space, space.decode(space.largest()[None])[0])


@pytest.mark.parametrize(
    ("network", "side"),
    [(lambda: trace(Pools()), 27), (convolutional, 20), (transformer, 32)],
    ids=["pools", "convolutional", "transformer"],
)
def test_a_batch_is_its_images(network, side: int) -> None:  # type: ignore[no-untyped-def]
    module = network().eval()
    images = torch.randn(6, 3, side, side)
    program = lower(module, (3, side, side), calibrate(module, images[:2]))  # clips some values of the others
    x = program.affine[program.input].quantize(images.permute(0, 2, 3, 1).numpy())
    alone = np.stack([program.reference(image) for image in x])
    assert len(np.unique(alone)) > 5
    np.testing.assert_array_equal(program.reference(x), alone)
    nested = program.reference(x.reshape(2, 3, *x.shape[1:]))
    np.testing.assert_array_equal(nested, alone.reshape(2, 3, *alone.shape[1:]))
