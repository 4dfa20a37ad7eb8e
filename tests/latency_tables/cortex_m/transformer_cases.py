"""What transformers need beside attention, for `test_kernels`: any sizes and numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from latency_tables.cortex_m.calls import (
    Add,
    AddConstant,
    Attention,
    AttentionByOperators,
    Convolution,
    LayerNorm,
    LinearAttention,
    OverwritingAttention,
    OverwritingMLP,
    PatchEmbedding,
    Pointwise,
)
from latency_tables.cortex_m.calls.windows import Window
from latency_tables.cortex_m.program import Call, Map, Program
from tests.latency_tables.cortex_m.values import Case, Rng, any_affine, any_bytes, any_finish

Sizes = dict[str, Any]


def linear_attention(draw: st.DataObject, rng: Rng, sizes: Sizes) -> Case:
    """Queries and keys below zero too."""
    call, shapes = attention_by_operators(draw, rng, sizes)
    assert isinstance(call, Attention)
    ends = {name: getattr(call, name) for name in ("inputs", "output", "query", "key", "value", "after")}
    return LinearAttention(**sizes, **ends), shapes


def attention_by_operators(draw: st.DataObject, rng: Rng, sizes: Sizes) -> Case:
    if not sizes:
        sizes |= {"tokens": draw.draw(st.integers(1, 12)), "heads": draw.draw(st.integers(1, 3))}
        sizes |= {"features": 4 * draw.draw(st.integers(1, 4))}
    shape = (1, sizes["tokens"], sizes["heads"] * sizes["features"])
    ends = {name: any_affine(rng) for name in ("query", "key", "value", "after")}
    return AttentionByOperators(inputs=("x", "second", "third"), output="y", **sizes, **ends), [shape] * 4


def norm_of(rng: Rng, tokens: int, d: int) -> LayerNorm:
    weights = {"scale": rng.normal(1, 0.5, d), "shift": rng.normal(0, 1, d), "eps": 1e-5}
    ends = {"before": any_affine(rng), "after": any_affine(rng)}
    return LayerNorm(inputs=("x",), output="norm", tokens=tokens, **weights, **ends)


def layers_of(rng: Rng, tokens: int, widths: list[int], table: bool, source: str, name: str) -> list[Pointwise]:
    layers = []
    for number, (i, o) in enumerate(itertools.pairwise(widths)):
        biases, finish = rng.integers(-9999, 9999, o), any_finish(rng, o, i, table)
        ends = {"inputs": (source,), "output": (source := f"{name}{number}")}
        layers.append(Pointwise(**ends, weights=any_bytes(rng, o, i), biases=biases, finish=finish, pixels=tokens))
    return layers


def sum_with(rng: Rng, shape: Map, mixed: str) -> Add:
    terms = {"first": any_affine(rng), "second": any_affine(rng), "after": any_affine(rng)}
    return Add(inputs=("x", mixed), output="y", shape=shape, **terms)


def block(calls: list[Call], tokens: int, d: int) -> Program:
    shapes: dict[str, Map] = {"x": (1, tokens, d), "y": (1, tokens, d), "norm": (1, tokens, d)}
    for call in calls:
        if isinstance(call, Pointwise):
            shapes[call.output] = (1, tokens, len(call.weights))
        elif isinstance(call, Attention):
            shapes[call.output] = (1, tokens, call.heads * call.features)
    return Program(calls, "x", "y", shapes)


def overwriting_attention(draw: st.DataObject, rng: Rng, sizes: Sizes) -> Case:
    """Dense or with factors; one head and several, so that keys of one head or of all are kept."""
    if not sizes:
        sizes |= {"tokens": draw.draw(st.integers(1, 9)), "d": draw.draw(st.integers(1, 21))}
        sizes |= {"heads": draw.draw(st.integers(1, 3)), "features": 4 * draw.draw(st.integers(1, 3))}
        rank = st.one_of(st.none(), st.integers(1, 9))
        sizes |= {"rank": draw.draw(rank), "project_rank": draw.draw(rank), "table": draw.draw(st.booleans())}
        sizes |= {"kind": draw.draw(st.sampled_from([Attention, LinearAttention]))}
    tokens, d, heads, features = (sizes[name] for name in ("tokens", "d", "heads", "features"))
    inner, table = heads * features, sizes["table"]

    def widths(i: int, rank: int | None, o: int) -> list[int]:
        return [i, o] if rank is None else [i, rank, o]

    sides = [layers_of(rng, tokens, widths(d, sizes["rank"], inner), table, "norm", side) for side in "qkv"]
    ends = {name: any_affine(rng) for name in ("query", "key", "value", "after")}
    inputs = tuple(layers[-1].output for layers in sides)
    mixing = sizes["kind"](inputs=inputs, output="a", tokens=tokens, heads=heads, features=features, **ends)
    project = layers_of(rng, tokens, widths(inner, sizes["project_rank"], d), table, "a", "p")
    norm, add = norm_of(rng, tokens, d), sum_with(rng, (1, tokens, d), project[-1].output)
    parts = block([norm, *sides[0], *sides[1], *sides[2], mixing, *project, add], tokens, d)
    query, key, value = sides
    made: dict[str, Any] = {"query": query, "key": key, "value": value, "project": project, "add": add}
    call = OverwritingAttention(inputs=("x",), output="y", parts=parts, norm=norm, attention=mixing, **made)
    return call, [(1, tokens, d)] * 2


def overwriting_mlp(draw: st.DataObject, rng: Rng, sizes: Sizes) -> Case:
    if not sizes:
        sizes |= {"tokens": draw.draw(st.integers(1, 7)), "d": draw.draw(st.integers(1, 21))}
        sizes |= {"inner": draw.draw(st.lists(st.integers(1, 30), max_size=3)), "table": draw.draw(st.booleans())}
    tokens, d = sizes["tokens"], sizes["d"]
    layers = layers_of(rng, tokens, [d, *sizes["inner"], d], sizes["table"], "norm", "h")
    norm, add = norm_of(rng, tokens, d), sum_with(rng, (1, tokens, d), layers[-1].output)
    parts = block([norm, *layers, add], tokens, d)
    call = OverwritingMLP(inputs=("x",), output="y", parts=parts, norm=norm, layers=layers, add=add)
    return call, [(1, tokens, d)] * 2


def patch_embedding(draw: st.DataObject, rng: Rng, sizes: Sizes) -> Case:
    """Some pixels at the far edges may be left over."""
    if not sizes:
        patch, c = draw.draw(st.integers(2, 5)), draw.draw(st.integers(1, 4))
        height, width = (draw.draw(st.integers(patch, 4 * patch)) for _ in range(2))
        window = Window.over(height, width, patch, patch, 0)
        most = (patch * width * c - 16) // window.out_width
        sizes |= {"window": window, "c": c if most > 0 else 16}
        sizes |= {"o": draw.draw(st.integers(1, min(most, 40) if most > 0 else 3)), "table": draw.draw(st.booleans())}
    win, c, o = sizes["window"], sizes["c"], sizes["o"]
    finish, biases = any_finish(rng, o, c * win.kernel**2, sizes["table"]), rng.integers(-9999, 9999, o)
    weights, zero = any_bytes(rng, o, win.kernel, win.kernel, c), int(rng.integers(-128, 128))
    ends = {"inputs": ("x",), "output": "tokens"}
    convolution = Convolution(**ends, weights=weights, biases=biases, finish=finish, window=win, zero=zero)
    shape: Map = (win.out_height, win.out_width, o)
    terms = {"first": any_affine(rng), "second": any_affine(rng), "after": any_affine(rng)}
    places = AddConstant(inputs=("tokens",), output="y", shape=shape, **terms, constant=any_bytes(rng, *shape))
    shapes: dict[str, Map] = {"x": (win.height, win.width, c), "tokens": shape, "y": shape}
    parts = Program([convolution, places], "x", "y", shapes)
    assert PatchEmbedding.fits(convolution)
    call = PatchEmbedding(inputs=("x",), output="y", parts=parts, convolution=convolution, places=places)
    return call, [shapes["x"], shape]


TRANSFORMERS: dict[str, Callable[[st.DataObject, Rng, Sizes], Case]] = {
    "attention_by_operators": attention_by_operators,
    "linear_attention": linear_attention,
    "overwriting_attention": overwriting_attention,
    "overwriting_mlp": overwriting_mlp,
    "patch_embedding": patch_embedding,
}
