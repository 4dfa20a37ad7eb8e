"""Tokens that are looked at as an image, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.calls import LinearAttention
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.lowering import lower
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network, trace
from tests.latency_tables.cortex_m.test_lowering import close_network


@pytest.mark.parametrize("form", ["convolution", "linear"])
def test_a_transformer_with_other_forms_of_attention(form: str, m4: Firmware) -> None:
    sizes = {"resolution": [24], "patch": [8], "embed": [48], "depth": [2], "heads": [2], "mlp": [1]}
    settings = {"attention": ["softmax", form], "keep": [1], "selects": []}
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


class Linear(nn.Module):
    """`kind` says what is not as usual."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.layers, self.act, self.kind = nn.ModuleList(nn.Linear(16, 16) for _ in range(3)), nn.ReLU(), kind

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (layer(x) for layer in self.layers)
        query, key = query if self.kind == "no relu" else self.act(query), self.act(key)
        query, key, value = (part.unflatten(-1, (-1, 8)).transpose(1, 2) for part in (query, key, value))
        context = key.transpose(-2, -1) @ value
        total = key.sum(dim=-1 if self.kind == "another sum" else -2, keepdim=True).transpose(-2, -1)
        weights = query / (query @ total + 1e-6)
        if self.kind == "weights go on":
            weights = weights + query
        return (weights @ context).transpose(1, 2).flatten(2)


def test_linear_attention_is_close_to_that_in_real_numbers() -> None:
    """To two steps of the output."""
    torch.manual_seed(0)
    network = trace(Linear("as usual")).eval()
    x = torch.randn(1, 50, 16)
    program = lower(network, (50, 16), calibrate(network, x))
    call = program.calls[-1]
    assert isinstance(call, LinearAttention)
    maps = {program.input: program.affine[program.input].quantize(x.numpy())}
    for each in program.calls:
        maps[each.output] = each.reference(*(maps[name] for name in each.inputs)).reshape(1, 50, 16)
    query, key, value = (program.affine[name].real(maps[name])[0] for name in call.inputs)
    heads = [[part[:, h : h + 8] for part in (query, key, value)] for h in (0, 8)]
    mixed = [q @ (k.T @ v) / np.maximum(q @ k.sum(axis=0)[:, None], 1e-6) for q, k, v in heads]
    expected = call.after.quantize(np.concatenate(mixed, axis=1))
    assert np.abs(maps[call.output][0].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["no relu", "another sum", "weights go on"])
def test_what_is_not_linear_attention_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match="there is no Cortex-M kernel for"):
        lower(trace(Linear(kind)).eval(), (8, 16))
