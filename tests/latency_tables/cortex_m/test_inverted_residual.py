"""Inverted residuals as one call: the same output in less memory, and the same call in a network as alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.counting import Counter, call_key, network_program, operator_program
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.footprint import flash, peak_memory
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.plain import build_network, trace


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    settings = {"width_mult": 0.25, "resolution": [33], "feature_channels": 64, "dropout": 0}
    return get_space({"name": "ofa_proxyless_nas", **settings}, 10, 3)


def architectures(space: SearchSpace, num: int) -> list[Architecture]:
    return space.decode(space.sample(num, np.random.default_rng(0)))


def kernels(program: Program) -> list[str]:
    return [type(call).__name__ for call in program.calls]


class Block(nn.Module):
    """An inverted residual as `add` sums it up."""

    def __init__(self, add: Callable[[Tensor, Tensor], Tensor], channels: int = 8, out: int = 8) -> None:
        super().__init__()
        mid = 32
        self.expand, self.expand_act = nn.Conv2d(channels, mid, 1), nn.ReLU6()
        self.filter, self.filter_act = nn.Conv2d(mid, mid, 3, padding=1, groups=mid), nn.ReLU6()
        self.project, self.add = nn.Conv2d(mid, out, 1), add

    def forward(self, x: Tensor) -> Tensor:
        y = self.filter_act(self.filter(self.expand_act(self.expand(x))))
        return self.add(x, self.project(y))


def test_whole_networks_give_the_same_and_need_less(space: SearchSpace, firmware: Firmware) -> None:
    """Strides, odd sides, with and without sums and first convolutions, calibrated: zeros and clamps of every kind."""
    torch.manual_seed(0)
    (architecture,) = architectures(space, 1)
    network, images = build_network(space, architecture).eval(), torch.randn(4, 3, 33, 33)
    naive = lower(network, (3, 33, 33), calibrate(network, images))
    program = schedule(naive)
    assert kernels(program).count("InvertedResidual") >= 5 and kernels(program).count("InvertedBottleneck") >= 2
    assert plan(program).num_bytes < plan(naive).num_bytes / 1.4
    assert program.macs == naive.macs
    x = naive.affine[naive.input].quantize(images[0].permute(1, 2, 0).numpy())
    done = emulate(program, firmware, x)
    np.testing.assert_array_equal(done.output, naive.reference(x))
    np.testing.assert_array_equal(done.output, program.reference(x))
    assert done.instructions < 1.1 * emulate(naive, firmware, x).instructions


@pytest.mark.parametrize("se_ratio", [0, 0.25])
def test_what_a_network_needs_follows_from_its_operators(se_ratio: float, m4: Firmware) -> None:
    name = "mobilenet_v3_digits" if se_ratio else "ofa_proxyless_nas"
    changed = {} if se_ratio else {"width_mult": 0.25, "resolution": [32]}
    space = get_space({"name": name, **changed}, num_classes=10, in_channels=3)
    counter = Counter(m4)
    for architecture in architectures(space, 2):
        whole = network_program(space, architecture)
        parts = [operator_program(operator) for _, operator in space.network(architecture)]
        assert [key for part in parts for key in map(call_key, part.calls)] == [*map(call_key, whole.calls)]
        assert peak_memory(whole) == max(map(peak_memory, parts))
        assert flash(whole) == sum(map(flash, parts))
    assert counter.around + counter.total(whole) == counter.whole(whole)


def test_where_gates_need_all_pixels_the_depthwise_convolution_overwrites() -> None:
    space = get_space({"name": "mobilenet_v3_digits", "kernel": [3]}, num_classes=10, in_channels=1)
    (architecture,) = space.decode(space.largest()[None])
    naive, program = (network_program(space, architecture, plan=name) for name in ("naive", "overwriting"))
    assert "InPlaceDepthwise" in kernels(program) and "InPlaceDepthwise" not in kernels(naive)
    assert peak_memory(program) < peak_memory(naive)


@pytest.mark.parametrize("add", [lambda x, y: x + y, lambda x, y: y + x], ids=["x + y", "y + x"])
def test_terms_are_summed_in_any_order(add: Callable[[Tensor, Tensor], Tensor], m4: Firmware) -> None:
    torch.manual_seed(0)
    network, images = trace(Block(add)).eval(), torch.randn(4, 8, 9, 9)
    naive = lower(network, (8, 9, 9), calibrate(network, images))
    program = schedule(naive)
    assert kernels(program) == ["InvertedResidual"]
    assert plan(program).num_bytes < 9 * 9 * (8 + 32)
    x = naive.affine[naive.input].quantize(images[0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(emulate(program, m4, x).output, naive.reference(x))


def test_a_map_that_others_read_stays() -> None:
    """The expanded one here, the block's input there."""

    class Watched(nn.Module):
        def __init__(self, expanded: bool) -> None:
            super().__init__()
            self.expanded = expanded
            self.one, self.two, self.three = (
                nn.Conv2d(8, 32, 1),
                nn.Conv2d(32, 32, 3, 1, 1, groups=32),
                nn.Conv2d(32, 8, 1),
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            z: Tensor = self.three(self.two(y))
            return self.three(y) + z if self.expanded else (x + z) + x

    for expanded in (True, False):
        program = schedule(lower(trace(Watched(expanded)), (8, 9, 9)))
        assert not {*kernels(program)} & {"InvertedResidual", "InvertedBottleneck"}


def test_blocks_without_a_first_convolution_do_not_take_the_one_before_them(m4: Firmware) -> None:
    """Depthwise, 1x1, depthwise, 1x1: two blocks each of two."""
    layers = [nn.Conv2d(4, 4, 3, 1, 1, groups=4), nn.Conv2d(4, 16, 1), nn.Conv2d(16, 16, 3, 2, 1, groups=16)]
    halves = [nn.Sequential(*layers[:2]), nn.Sequential(layers[2], nn.Conv2d(16, 8, 1))]
    whole = schedule(lower(trace(nn.Sequential(*halves)), (4, 9, 9)))
    alone = [schedule(lower(trace(half), shape)) for half, shape in zip(halves, [(4, 9, 9), (16, 9, 9)], strict=True)]
    assert kernels(whole) == [name for part in alone for name in kernels(part)]
    assert Counter(m4).total(whole) == sum(Counter(m4).total(part) for part in alone)


def test_the_naive_plan_leaves_calls_alone(space: SearchSpace) -> None:
    (architecture,) = architectures(space, 1)
    assert not {*kernels(network_program(space, architecture, plan="naive"))} & {
        "InvertedResidual",
        "InvertedBottleneck",
        "InPlaceDepthwise",
    }
