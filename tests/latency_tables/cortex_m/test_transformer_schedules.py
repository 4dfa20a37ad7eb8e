"""Transformers by memory plan: the same output, the least memory, and sums over operators that hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calibration import calibrate
from latency_tables.cortex_m.compilers import Firmware, build_firmware
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter, network_program, operator_program
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.footprint import flash, peak_memory
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling import schedule
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.operators import Attention
from search_spaces.plain import build_network, trace
from tests.latency_tables.cortex_m.values import any_bytes


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    """Of 9 tokens: an odd number."""
    sizes = {"resolution": [24], "patch": [8], "embed": [48], "depth": [2], "heads": [2, 3], "mlp": [1, 2]}
    forms = {"attention": ["softmax", "linear"], "keep": [1], "selects": []}
    return get_space({"name": "vit_nano", **sizes, **forms}, 10, 3)


def some(space: SearchSpace, num: int) -> list[Architecture]:
    return space.decode(space.sample(num, np.random.default_rng(0)))


def kernels(program: Program) -> list[str]:
    return [call.kernel for call in program.calls]


def test_no_bit_depends_on_the_plan(firmware: Firmware, space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    for architecture in some(space, 2):
        torch.manual_seed(0)
        module = build_network(space, architecture).eval()
        program = lower(module, (3, 24, 24), calibrate(module, torch.randn(8, 3, 24, 24)))
        x = any_bytes(rng, 24, 24, 3)
        for name in ("naive", "overwriting"):
            scheduled = schedule(program, plan=name)
            assert np.array_equal(emulate(scheduled, firmware, x).output, program.reference(x))
            assert np.array_equal(scheduled.reference(x), program.reference(x))


def test_every_block_is_overwritten_and_all_sums_hold(m4: Firmware, space: SearchSpace) -> None:
    counter = Counter(m4)
    for architecture in some(space, 2):
        whole = network_program(space, architecture)
        blocks = ["overwriting_attention", "overwriting_mlp"] * 2
        assert kernels(whole) == ["patch_embedding", *blocks, "layer_norm", "global_average", "pointwise"]
        parts = [operator_program(operator) for _, operator in space.network(architecture)]
        assert peak_memory(whole) == max(map(peak_memory, parts))
        assert peak_memory(whole) < peak_memory(network_program(space, architecture, plan="naive"))
        assert flash(whole) == sum(map(flash, parts))
        assert counter.around + sum(map(counter.total, parts)) == counter.whole(whole)


@pytest.mark.parametrize(("core", "compiler"), [("cortex-m3", "zig"), ("cortex-m4", "gcc")])
def test_qemu_counts_the_same(
    core: str, compiler: str, space: SearchSpace, count_in_qemu: Callable[[Program, Firmware], int]
) -> None:
    if compiler == "gcc" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    firmware = build_firmware(get_core(core), compiler)
    program = network_program(space, some(space, 1)[0])
    assert count_in_qemu(program, firmware) == Counter(firmware).whole(program)


@pytest.mark.parametrize("rank", [0, 12])
def test_a_block_of_mcuformer_needs_what_is_known(rank: int) -> None:
    """D = 192, 3 heads, 240 px, patches of 16 (https://arxiv.org/abs/2310.16898): N (D + Q + 2 head), the first factors
    of keys and values, and a row of scores; less than the formula of the space, where nothing is factored.
    """
    tokens, sizes = 15**2, {"in_channels": 192, "out_channels": 192, "resolution": 15, "heads": 3, "head_dim": 64}
    operator = Attention(**sizes, class_token=False, dropped=0, form="softmax", rank=rank, drops=0)
    assert peak_memory(operator_program(operator, plan="naive")) > 320 * 1024
    expected = tokens * (192 + 192 + 2 * 64 + 2 * rank) + 4 * tokens + 2 * 64
    found = peak_memory(operator_program(operator))
    assert 0 <= found - expected < 48
    assert rank or found < operator.overwriting_elements() + 256


class Attend(nn.Module):
    """`order` says what is not as usual."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.norm, self.project = nn.LayerNorm(16), nn.Linear(16, 16)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        query, key, value = (layer(normed).unflatten(-1, (-1, 8)).transpose(1, 2) for layer in self.layers)
        if self.kind == "key is value":
            key = value
        if self.kind == "tokens unnormed":
            key = self.layers[1](x).unflatten(-1, (-1, 8)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        if self.kind == "normed in the end":
            mixed = mixed + normed
        out: Tensor = self.project(mixed) + x if self.kind == "sum turned round" else x + self.project(mixed)
        return out


@pytest.mark.parametrize(
    "kind", ["as usual", "key is value", "tokens unnormed", "normed in the end", "sum turned round"]
)
def test_what_is_no_usual_block_stays_as_it_is(kind: str, m4: Firmware) -> None:
    torch.manual_seed(0)
    module = trace(nn.Sequential(Attend(kind), nn.LayerNorm(16))).eval()
    program = lower(module, (9, 16), calibrate(module, torch.randn(4, 9, 16)))
    scheduled = schedule(program)
    assert ("overwriting_attention" in kernels(scheduled)) == (kind == "as usual")
    x = any_bytes(np.random.default_rng(0), 1, 9, 16)
    assert np.array_equal(emulate(scheduled, m4, x).output, program.reference(x))


class Embed(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv, self.places = nn.Conv2d(1, features, 4, 4), nn.Parameter(torch.randn(9, features))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x).flatten(2).transpose(1, 2) + self.places
        return out


@pytest.mark.parametrize(("features", "over"), [(8, True), (17, False)])
def test_tokens_larger_than_their_pixels_are_written_elsewhere(features: int, over: bool) -> None:
    program = schedule(lower(trace(Embed(features)).eval(), (1, 12, 12)))
    assert kernels(program) == (["patch_embedding"] if over else ["convolution", "add"])
    offsets = plan(program).offsets
    assert (offsets[program.input] == offsets[program.output]) == over
