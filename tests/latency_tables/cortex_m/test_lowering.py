"""Networks as kernel calls: equal to numpy bit for bit, close to the floating-point network, and refusals by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.lowering import lower
from search_spaces import get_space
from search_spaces.common.errors import UserError
from search_spaces.plain import build_network, trace


def close_network(network: fx.GraphModule, shape: tuple[int, ...], firmware: Firmware, num_images: int = 1) -> float:
    """Signal to quantisation noise of the outputs in dB; the emulated outputs are exactly those of numpy."""
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():
        for _ in range(20):  # batch statistics like those of the images
            network(torch.randn(16, *shape))
    network.eval()
    program = lower(network, shape, calibrate(network, torch.randn(16, *shape)))
    images = torch.randn(num_images, *shape)
    with torch.no_grad():
        expected = network(images).numpy()
    found = []
    for image in images:
        x = program.affine[program.input].quantize(image.permute(1, 2, 0).numpy())
        output = emulate(program, firmware, x).output
        np.testing.assert_array_equal(output, program.reference(x))
        found.append(program.affine[program.output].real(output).ravel())
    return float(10 * np.log10((expected**2).sum() / ((np.stack(found) - expected) ** 2).sum()))


def test_a_whole_mobilenet_v3(firmware: Firmware) -> None:
    space = get_space({"name": "mobilenet_v3_digits", "resolution": [20]}, 10, 1)
    torch.manual_seed(0)
    network = build_network(space, space.decode(space.largest()[None])[0])
    assert close_network(network, (1, 20, 20), firmware) > 15


@pytest.mark.slow
def test_a_whole_resnet(m4: Firmware) -> None:
    """Max pooling, average pooling over the edge, clamps after sums."""
    space = get_space({"name": "ofa_resnet50"}, 10, 3)
    torch.manual_seed(0)
    (architecture,) = space.decode(space.smallest()[None])
    network = build_network(space, architecture)
    assert close_network(network, (3, 33, 33), m4) > 15


def test_a_whole_transformer(firmware: Firmware) -> None:
    """Places, layer norm, softmax attention, factors of low rank, GELU, the mean of tokens."""
    settings = {"attention": ["softmax"], "keep": [1], "selects": [], "patch": [8], "depth": [3]}
    space = get_space({"name": "vit_nano", **settings}, 10, 3)
    torch.manual_seed(0)
    (architecture,) = space.decode(space.sample(1, np.random.default_rng(0)))
    assert close_network(build_network(space, architecture), (3, 32, 32), firmware) > 15


class Blocks(nn.Module):
    """Activations of every kind, alone and behind every kernel that takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.acts = nn.ModuleList([nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.Tanh(), nn.Sigmoid(), nn.Hardswish()])
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, groups=4 if i % 2 else 1) for i in range(6))
        self.last, self.pool, self.flatten, self.linear = (
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = x + act(conv(x))
        y = self.last(x)  # x has two readers: a call by itself
        gated = self.acts[4](self.pool(y)) * y
        out: Tensor = self.linear(self.flatten(self.pool(gated + x)))
        return out


def test_activations_of_every_kind(m4: Firmware) -> None:
    torch.manual_seed(0)
    assert close_network(trace(Blocks()), (4, 6, 6), m4, num_images=20) > 20


def test_an_activation_is_done_by_the_kernel_before_it() -> None:
    network = trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(), nn.Conv2d(4, 2, 1), nn.ReLU()))
    program = lower(network.eval(), (3, 8, 8))
    assert [call.kernel for call in program.calls] == ["convolution", "pointwise"]
    assert program.macs == 36 * (27 * 4 + 4 * 2)


class Two(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (nn.LayerNorm(8), r"0: there is no Cortex-M kernel for LayerNorm\(\(8,\)"),
        (nn.PixelShuffle(1), "0: there is no Cortex-M kernel for torch.nn.PixelShuffle"),
        (nn.BatchNorm2d(3), "0: there is no Cortex-M kernel for torch.nn.BatchNorm2d"),
        (nn.Conv2d(3, 3, (1, 3)), r"0: there is no Cortex-M kernel for Conv2d\(3, 3, kernel_size=\(1, 3\)"),
        (nn.Conv2d(3, 3, 3, dilation=2), "dilation="),
        (nn.Conv2d(3, 3, 1, padding=1), "padding="),
        (nn.Conv2d(4, 8, 1, groups=2), "Conv2d with 2 groups of 4 channels"),
        (nn.AdaptiveAvgPool2d(2), r"AdaptiveAvgPool2d\(2\)"),
        (nn.AvgPool2d(3, padding=1), "AvgPool2d"),
        (nn.MaxPool2d(2, ceil_mode=True), "MaxPool2d"),
        (nn.Flatten(), "Flatten of a map of 8 x 8"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_no_kernel_does_is_refused_by_name(layer: nn.Module, told: str) -> None:
    channels = 4 if getattr(layer, "in_channels", 3) == 4 else 3
    with pytest.raises(UserError, match=told):
        lower(trace(nn.Sequential(layer)), (channels, 8, 8))


def test_two_inputs_are_refused() -> None:
    with pytest.raises(UserError, match="more than one input"):
        lower(trace(Two()), (3, 8, 8))


def test_a_value_without_a_range_is_named() -> None:
    network = trace(nn.Sequential(nn.Conv2d(3, 4, 3)))
    with pytest.raises(UserError, match="_0: nothing says how this value is quantised"):
        lower(
            network,
            (3, 8, 8),
            {key: value for key, value in calibrate(network, torch.randn(2, 3, 8, 8)).items() if key != "_0"},
        )
