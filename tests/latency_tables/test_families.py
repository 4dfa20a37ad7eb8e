"""Operators of every family are measured by every runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latency_tables.measure import measure_table
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace, get_space
from search_spaces.operators import Attention, Operator
from search_spaces.plain import PLAIN, build_operator
from search_spaces.registry import FAMILIES
from tests.latency_tables.runtime_calls import check_close, infer, runtime_here, some_runtimes

#: the smallest space of each family that has all of its kinds of operators; sides are odd where maps are halved
SPACES = {
    "mobilenet_v3": {"name": "mobilenet_v3_digits", "resolution": [18], "kernel": [3], "expand": [3], "depth": [1, 2]},
    "proxyless_nas": {
        "name": "ofa_proxyless_nas",
        "width_mult": 0.25,
        "resolution": [36],
        "kernel": [3],
        "expand": [3],
        "depth": [1, 2],
        "widths": [24, 40],
        "strides": [2, 2],
        "feature_channels": 64,
    },
    "resnet": {
        "name": "ofa_resnet50",
        "resolution": [36],
        "width": [1],
        "expand": [0.25, 0.35],
        "depth": [0],
        "stem_channels": 16,
        "widths": [32, 48],
        "strides": [1, 2],
        "base_depths": [1, 1],
    },
    "hybrid": {
        "name": "hybrid_nano",
        "resolution": [18],
        "depth": [1],
        "widths": [8, 16],
        "layers": [1, 2],
        "embed": [16, 24],
        "heads": [1, 2],
        "mlp": [1, 2],
        "head_dim": 8,
    },
    "vision_transformer": {
        "name": "vit_nano",
        "resolution": [16],
        "patch": [4, 8],
        "embed": [16, 24],
        "depth": [1, 2],
        "heads": [2],
        "mlp": [2],
        "selects": [2],
        "head_dim": 8,
    },
}


def slow(runtime: str, family: str) -> Any:
    return pytest.param(runtime, family, marks=pytest.mark.slow)


def space_of(family: str) -> SearchSpace:
    return get_space(SPACES[family], num_classes=5, in_channels=1)


def test_every_kind_of_operator_is_here() -> None:
    assert set(SPACES) == set(FAMILIES)
    assert {type(operator) for family in SPACES for operator in space_of(family).operators().values()} == set(PLAIN)


@pytest.mark.parametrize(
    ("runtime", "family"),
    [
        *(("onnxruntime", family) for family in SPACES),
        *(slow("torch", family) for family in SPACES),
        *((runtime, "mobilenet_v3") for runtime in ("onnxruntime_int8", "litert")),
        *(slow(runtime, "hybrid") for runtime in ("onnxruntime_int8", "litert")),
        slow("executorch", "mobilenet_v3"),
    ],
)
def test_table_of_a_family(family: str, runtime: str, device: Callable[..., DeviceSettings], tmp_path: Path) -> None:
    space = space_of(family)
    table = measure_table(space, device(runtime=runtime, instances=1), path=tmp_path / "table.json")
    assert list(table.entries) == list(space.operators())
    assert all(entry.median_ms > 0 for entry in table.entries.values())
    assert table.cost(space).minimum()[0] > 0


@pytest.mark.parametrize("family", SPACES)
def test_every_operator_in_tflite_equals_torch(family: str) -> None:
    runtime = runtime_here("litert")
    for operator in space_of(family).operators().values():
        module = build_operator(operator)
        x, found = infer(runtime, module, operator.input_shape)
        with torch.no_grad():
            expected = module.eval()(x)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("family", SPACES)
@pytest.mark.parametrize("name", ["executorch", "executorch_int8", "onnxruntime_int8"])
def test_every_operator_of_a_family_runs(family: str, name: str) -> None:
    """Where a table would take very long."""
    runtime = runtime_here(name)
    for key, operator in space_of(family).operators().items():
        call = runtime.prepare(build_operator(operator), operator.input_shape, threads=1)
        assert call(), key


#: two kinds for runtimes that take a second or more to compile one
FEW_KINDS = (("bottleneck", True), ("attention", False, "linear", True))


def kinds_of_operators() -> dict[tuple[object, ...], Operator]:
    kinds: dict[tuple[object, ...], Operator] = {}
    for family in SPACES:
        for operator in space_of(family).operators().values():
            form = (operator.form, bool(operator.drops)) if isinstance(operator, Attention) else ()
            kinds[operator.kind, operator.resolution % 2 == 1, *form] = operator
    assert set(FEW_KINDS) <= set(kinds)
    return kinds


@pytest.mark.parametrize("name", some_runtimes("torch", "onnxruntime", "onnxruntime_int8", "litert"))
def test_a_call_is_one_inference_of_each_kind_of_operator(name: str) -> None:
    kinds = kinds_of_operators()
    check_calls(name, {kind: kinds[kind] for kind in FEW_KINDS} if name == "torch_inductor" else kinds)


def test_a_call_of_executorch_is_one_inference() -> None:
    """Of one kind: lowering another takes seconds."""
    kind = FEW_KINDS[0]
    check_calls("executorch", {kind: kinds_of_operators()[kind]})


def check_calls(name: str, kinds: dict[tuple[object, ...], Operator]) -> None:
    runtime = runtime_here(name)
    for kind, operator in kinds.items():
        module = build_operator(operator)
        x, result = infer(runtime, module, operator.input_shape)
        with torch.no_grad():
            expected = module.eval()(x)
        if runtime.precision == "int8" and kind[3:] == (True,):
            assert result.shape == expected.shape  # rounding changes which tokens of random weights stay
        else:
            check_close(runtime, result, expected)
