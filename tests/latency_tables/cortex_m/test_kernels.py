"""Every kernel gives what numpy gives, bit for bit, and takes the same instructions whatever the numbers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import (
    Add,
    AddConstant,
    Attention,
    AveragePool,
    Convolution,
    Depthwise,
    GlobalAverage,
    InPlaceDepthwise,
    InvertedBottleneck,
    InvertedResidual,
    LayerNorm,
    Lookup,
    MaxPool,
    OverwritingConvolution,
    OverwritingDepthwise,
    OverwritingPointwise,
    Pointwise,
    Scale,
)
from latency_tables.cortex_m.calls.windows import Window
from latency_tables.cortex_m.compilers import KERNELS, Firmware
from latency_tables.cortex_m.counting import Counter
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import Affine
from tests.latency_tables.cortex_m.transformer_cases import TRANSFORMERS
from tests.latency_tables.cortex_m.values import Case, Rng, any_affine, any_bytes, any_finish


def window(draw: st.DataObject, largest: int = 9) -> Window:
    kernel, stride = draw.draw(st.sampled_from([1, 2, 3, 5, 7])), draw.draw(st.integers(1, 3))
    pad = draw.draw(st.integers(0, kernel // 2))
    height, width = (draw.draw(st.integers(max(1, kernel - 2 * pad), largest)) for _ in range(2))
    return Window.over(height, width, kernel, stride, pad)


def pointwise(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"pixels": draw.draw(st.integers(1, 5)), "table": draw.draw(st.booleans())}
        sizes |= {"i": draw.draw(st.integers(1, 19)), "o": draw.draw(st.integers(1, 7))}
    pixels, i, o = sizes["pixels"], sizes["i"], sizes["o"]
    finish, biases = any_finish(rng, o, i, sizes["table"]), rng.integers(-9999, 9999, o)
    call = Pointwise(
        inputs=("x",), output="y", weights=any_bytes(rng, o, i), biases=biases, finish=finish, pixels=pixels
    )
    return call, [(1, pixels, i), (1, pixels, o)]


def convolution(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"window": window(draw), "table": draw.draw(st.booleans())}
        sizes |= {"i": draw.draw(st.integers(1, 6)), "o": draw.draw(st.integers(1, 5))}
    win, i, o = sizes["window"], sizes["i"], sizes["o"]
    finish, biases = any_finish(rng, o, i * win.kernel**2, sizes["table"]), rng.integers(-9999, 9999, o)
    weights, zero = any_bytes(rng, o, win.kernel, win.kernel, i), int(rng.integers(-128, 128))
    call = Convolution(inputs=("x",), output="y", weights=weights, biases=biases, finish=finish, window=win, zero=zero)
    return call, [(win.height, win.width, i), (win.out_height, win.out_width, o)]


def depthwise(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"window": window(draw), "c": draw.draw(st.integers(1, 9)), "table": draw.draw(st.booleans())}
    win, c = sizes["window"], sizes["c"]
    finish, biases = any_finish(rng, c, win.kernel**2, sizes["table"]), rng.integers(-9999, 9999, c)
    weights, zero = any_bytes(rng, c, win.kernel, win.kernel), int(rng.integers(-128, 128))
    call = Depthwise(inputs=("x",), output="y", weights=weights, biases=biases, finish=finish, window=win, zero=zero)
    return call, [(win.height, win.width, c), (win.out_height, win.out_width, c)]


def _shape(draw: st.DataObject, sizes: dict[str, Any]) -> Map:
    if not sizes:
        sides = (draw.draw(st.integers(1, 6)), draw.draw(st.integers(1, 6)), draw.draw(st.integers(1, 9)))
        sizes |= {"shape": sides, "table": draw.draw(st.booleans())}
    shape: Map = sizes["shape"]
    return shape


def global_average(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    shape = _shape(draw, sizes)
    call = GlobalAverage(inputs=("x",), output="y", shape=shape, before=any_affine(rng), after=any_affine(rng))
    return call, [shape, (1, 1, shape[2])]


def average_pool(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    """Windows begin inside and may end outside."""
    if not sizes:
        kernel, stride = draw.draw(st.integers(1, 3)), draw.draw(st.integers(1, 3))
        height, width = (draw.draw(st.integers(kernel, 7)) for _ in range(2))
        more = draw.draw(st.booleans())
        sides = [(side - kernel) // stride + 1 for side in (height, width)]
        sides = [n + (more and n * stride < side) for n, side in zip(sides, (height, width), strict=True)]
        sizes |= {"window": Window(height, width, kernel, stride, 0, *sides), "c": draw.draw(st.integers(1, 5))}
    win, c = sizes["window"], sizes["c"]
    ends = {"before": any_affine(rng), "after": any_affine(rng)}
    call = AveragePool(inputs=("x",), output="y", window=win, num_channels=c, **ends)
    return call, [(win.height, win.width, c), (win.out_height, win.out_width, c)]


def max_pool(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"window": window(draw), "c": draw.draw(st.integers(1, 5))}
    win, c = sizes["window"], sizes["c"]
    call = MaxPool(inputs=("x",), output="y", window=win, num_channels=c)
    return call, [(win.height, win.width, c), (win.out_height, win.out_width, c)]


def add(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    shape = _shape(draw, sizes)
    low, high = sorted(int(end) for end in rng.integers(-128, 128, 2))
    terms = {"first": any_affine(rng), "second": any_affine(rng), "after": any_affine(rng)}
    table = any_bytes(rng, 256) if sizes["table"] else None
    call = Add(inputs=("x", "second"), output="y", shape=shape, **terms, low=low, high=high, table=table)
    return call, [shape, shape, shape]


def scale(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    shape = _shape(draw, sizes)
    ends = {"before": any_affine(rng), "gate": any_affine(rng, 0.003, 0.005), "after": any_affine(rng)}
    return Scale(inputs=("x", "second"), output="y", shape=shape, **ends), [shape, (1, 1, shape[2]), shape]


def lookup(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    shape = _shape(draw, sizes)
    return Lookup(inputs=("x",), output="y", shape=shape, table=any_bytes(rng, 256)), [shape, shape]


def layer_norm(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"tokens": draw.draw(st.integers(1, 4)), "d": draw.draw(st.sampled_from([1, 2, 7, 48, 200, 512]))}
        sizes |= {"eps": draw.draw(st.sampled_from([1e-6, 1e-3, 100.0]))}
    tokens, d, eps = sizes["tokens"], sizes["d"], sizes["eps"]
    weights = {"scale": rng.normal(1, 0.5, d), "shift": rng.normal(0, 1, d), "eps": eps}
    ends = {"before": any_affine(rng), "after": any_affine(rng)}
    return LayerNorm(inputs=("x",), output="y", tokens=tokens, **weights, **ends), [(1, tokens, d), (1, tokens, d)]


def attention(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    if not sizes:
        sizes |= {"tokens": draw.draw(st.integers(1, 12)), "heads": draw.draw(st.integers(1, 3))}
        sizes |= {"features": 4 * draw.draw(st.integers(1, 4))}
    shape = (1, sizes["tokens"], sizes["heads"] * sizes["features"])
    ends = {name: any_affine(rng) for name in ("query", "key", "value", "after")}
    return Attention(inputs=("x", "second", "third"), output="y", **sizes, **ends), [shape] * 4


def inverted_residual(draw: st.DataObject, rng: Rng, sizes: dict[str, Any]) -> Case:
    """With and without its first convolution and its sum."""
    if not sizes:
        residual, kernel = draw.draw(st.booleans()), draw.draw(st.sampled_from([1, 3, 5, 7]))
        sides = [draw.draw(st.integers(1, 9)) for _ in range(2)]
        win = Window.over(*sides, kernel, 1, kernel // 2) if residual else window(draw)
        i, mid = draw.draw(st.integers(1, 6)), draw.draw(st.sampled_from([None, 1, 4, 7, 10]))
        o = i if residual else draw.draw(st.integers(1, 6))
        sizes |= {"residual": residual, "window": win, "i": i, "mid": mid, "o": o, "table": draw.draw(st.booleans())}
    win, i, mid, o, table = (sizes[name] for name in ("window", "i", "mid", "o", "table"))
    (pixels, outs), mid = ((win.height * win.width, win.out_pixels), mid or i)
    one = {"pixels": pixels, "i": i, "o": mid, "table": table}
    expand = pointwise(draw, rng, one)[0] if sizes["mid"] else None
    parts: dict[str, Any] = {"expand": expand, "depthwise": depthwise(draw, rng, {**sizes, "c": mid})[0]}
    parts["project"] = pointwise(draw, rng, {"pixels": outs, "i": mid, "o": o, "table": False})[0]
    shapes = [(win.height, win.width, i), (win.out_height, win.out_width, o)]
    if not sizes["residual"]:
        return InvertedBottleneck(inputs=("x",), output="y", **parts), shapes
    terms = {"first": any_affine(rng), "second": any_affine(rng), "after": any_affine(rng)}
    total = Add(inputs=("x", "z"), output="y", shape=shapes[0], **terms, table=any_bytes(rng, 256) if table else None)
    return InvertedResidual(inputs=("x",), output="y", **parts, add=total), shapes


CASES: dict[str, Callable[[st.DataObject, Rng, dict[str, Any]], Case]] = {
    "pointwise": pointwise,
    "convolution": convolution,
    "depthwise": depthwise,
    "global_average": global_average,
    "average_pool": average_pool,
    "max_pool": max_pool,
    "add": add,
    "scale": scale,
    "lookup": lookup,
    "layer_norm": layer_norm,
    "attention": attention,
    "inverted_residual": inverted_residual,
    **TRANSFORMERS,
}


def run(call: Call, shapes: list[Map], rng: Rng, firmware: Firmware) -> int:
    """Run and compare; the instructions it took. Other inputs are made of the first, by kernels tested here too."""
    named = dict(zip((*call.inputs, call.output), shapes, strict=True))
    before: list[Call] = []
    if len(call.inputs) > 1 and shapes[1] == shapes[0]:
        for name in call.inputs[1:]:
            before.append(Lookup(inputs=("x",), output=name, shape=shapes[0], table=any_bytes(rng, 256)))
    elif len(call.inputs) > 1:
        ends = {"before": any_affine(rng), "after": any_affine(rng)}
        before = [GlobalAverage(inputs=("x",), output="second", shape=shapes[0], **ends)]
    program = Program([*before, call], "x", "y", named)
    x = any_bytes(rng, *shapes[0])
    done = emulate(program, firmware, x)
    np.testing.assert_array_equal(done.output, program.reference(x))
    return done.instructions


def test_no_kernel_is_left_out() -> None:
    assert tuple(CASES) == KERNELS


@pytest.mark.parametrize("kernel", CASES)
@settings(max_examples=15, deadline=None)
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_bit_for_bit_and_blind_to_values(kernel: str, firmware: Firmware, draw: st.DataObject, seed: int) -> None:
    rng, sizes = np.random.default_rng(seed), {}
    first = run(*CASES[kernel](draw, rng, sizes), rng, firmware)
    again = run(*CASES[kernel](draw, rng, sizes), rng, firmware)
    assert first == again


@settings(max_examples=25, deadline=None)
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_depthwise_convolution_overwrites_its_input(firmware: Firmware, draw: st.DataObject, seed: int) -> None:
    """Of the same size or smaller: the means of the input stay alive beside it."""
    rng, sizes, counts = np.random.default_rng(seed), {}, set()
    for _ in range(2):
        call, (before, after) = depthwise(draw, rng, sizes)
        assert isinstance(call, Depthwise)
        assume(call.window.shrinks)
        values = {field.name: getattr(call, field.name) for field in fields(call)} | {"inputs": ("x",), "output": "d"}
        ends = {name: any_affine(rng) for name in ("before", "after")}
        calls: list[Call] = [
            GlobalAverage(inputs=("x",), output="gates", shape=before, **ends),
            InPlaceDepthwise(**values),
            Scale(inputs=("d", "gates"), output="y", shape=after, gate=any_affine(rng, 0.003, 0.005), **ends),
        ]
        shapes: dict[str, Map] = {"x": before, "gates": (1, 1, before[2]), "d": after, "y": after}
        program = Program(calls, "x", "y", shapes)
        places = plan(program).offsets
        assert places["d"] == places["x"]
        x = any_bytes(rng, *before)
        done = emulate(program, firmware, x)
        np.testing.assert_array_equal(done.output, program.reference(x))
        counts.add(done.instructions)
    assert len(counts) == 1


@pytest.mark.parametrize("kind", [OverwritingPointwise, OverwritingConvolution, OverwritingDepthwise])
@settings(max_examples=25, deadline=None)
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_convolution_overwrites_what_it_has_read(
    kind: type[Call], firmware: Firmware, draw: st.DataObject, seed: int
) -> None:
    """Backwards, where it begins a network, and forwards behind another: as near as the plan has them, and alike."""
    rng, sizes = np.random.default_rng(seed), {}
    plain, (before, after) = CASES[kind.kernel](draw, rng, sizes)
    call = kind(**{field.name: getattr(plain, field.name) for field in fields(plain)} | {"inputs": ("m",)})
    pixels = before[0] * before[1]
    first, _ = pointwise(draw, rng, {"pixels": pixels, "i": 1, "o": before[2], "table": False})
    first = OverwritingPointwise(
        **{field.name: getattr(first, field.name) for field in fields(first)} | {"output": "m"}
    )
    shapes: dict[str, Map] = {"x": (*before[:2], 1), "m": before, "y": after}
    counts = []
    for calls, begin, end in (([first], "x", "m"), ([call], "m", "y"), ([first, call], "x", "y")):
        program = Program(calls, begin, end, shapes)
        x = any_bytes(rng, *shapes[begin])
        done = emulate(program, firmware, x)
        np.testing.assert_array_equal(done.output, program.reference(x))
        counts.append(done.instructions)
    assert counts[2] == counts[0] + counts[1] - Counter(firmware).around


def test_a_constant_term_is_added(m4: Firmware) -> None:
    rng, shape = np.random.default_rng(0), (1, 5, 6)
    terms = {"first": any_affine(rng), "second": any_affine(rng), "after": any_affine(rng)}
    call = AddConstant(inputs=("x",), output="y", shape=shape, **terms, constant=any_bytes(rng, 5, 6))
    run(call, [shape, shape], rng, m4)


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0])
def test_layer_norm_and_attention_are_what_they_are_in_real_numbers(scale: float) -> None:
    """To a step of the output, and two."""
    rng, affine = np.random.default_rng(0), Affine(0.03, 4)
    norm = LayerNorm(
        inputs=("x",),
        output="y",
        tokens=5,
        scale=rng.normal(1, 0.3, 64),
        shift=rng.normal(0, 0.3, 64),
        eps=1e-5,
        before=affine,
        after=affine,
    )
    q = np.clip(rng.normal(4, scale, (3, 1, 5, 64)), -128, 127).astype(np.int8)
    x = affine.real(q[0])
    expected = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5) * norm.scale + norm.shift
    assert np.abs(norm.reference(q[0]).astype(int) - affine.quantize(expected)).max() <= 1

    ends = {"query": affine, "key": affine, "value": affine, "after": affine}
    call = Attention(inputs=("x", "y", "z"), output="o", tokens=5, heads=4, features=16, **ends)
    query, key, value = (affine.real(part).reshape(5, 4, 16) for part in q)
    weights = np.exp(np.einsum("qhd,khd->hqk", query, key) / 4)
    mixed = np.einsum("hqk,khd->qhd", weights / weights.sum(axis=2, keepdims=True), value)
    assert np.abs(call.reference(*q).astype(int) - affine.quantize(mixed.reshape(1, 5, 64))).max() <= 2


def test_the_kernels_are_as_lean_as_they_are_said_to_be(m4: Firmware) -> None:
    """Instructions per multiply-accumulate; docs/cortex_m.md has the table."""
    rng = np.random.default_rng(0)
    sizes = {"pixels": 100, "i": 128, "o": 32, "table": False}
    call, shapes = CASES["pointwise"](None, rng, sizes)  # type: ignore[arg-type]
    assert run(call, shapes, rng, m4) / call.macs < 1.7
    sizes = {"window": Window.over(14, 14, 5, 1, 2), "c": 64, "table": False}
    call, shapes = CASES["depthwise"](None, rng, sizes)  # type: ignore[arg-type]
    assert run(call, shapes, rng, m4) / call.macs < 5
