"""Tokens that are looked at as an image, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.lowering import lower
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network, trace
from tests.latency_tables.cortex_m.test_lowering import close_network


def test_a_transformer_whose_tokens_are_convolved(m4: Firmware) -> None:
    sizes = {"resolution": [24], "patch": [8], "embed": [48], "depth": [2], "heads": [2], "mlp": [1]}
    settings = {"attention": ["softmax", "convolution"], "keep": [1], "selects": []}
    space = get_space({"name": "vit_nano", **sizes, **settings}, 10, 3)
    found = space.decode(space.sample(20, np.random.default_rng(0)))
    mixed = next(one for one in found if len({*one.to_json()["attention"]}) == 2)
    torch.manual_seed(0)
    network = build_network(space, mixed)
    assert close_network(network, (3, 24, 24), m4) > 15


class Convolve(nn.Module):
    def __init__(self, width: int, read_twice: bool) -> None:
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(8), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.width, self.read_twice = width, read_twice

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        mixed = self.mix(normed.transpose(1, 2).unflatten(2, (-1, self.width))).flatten(2).transpose(1, 2)
        return mixed + (normed if self.read_twice else x)


@pytest.mark.parametrize(
    ("width", "read_twice", "told"),
    [(4, False, None), (3, True, "as tokens and as an image"), (5, False, r"unflatten\(2, \(-1, 5\)\)")],
)
def test_what_cannot_be_an_image_is_refused(width: int, read_twice: bool, told: str | None) -> None:
    network = trace(Convolve(width, read_twice)).eval()
    if told is None:
        assert [call.kernel for call in lower(network, (12, 8)).calls] == ["layer_norm", "depthwise", "add"]
        return
    with pytest.raises(UserError, match=told):
        lower(network, (12, 8))
