"""No undefined behaviour and no byte beyond: every map in an array of its own, with the 3 spare bytes that are said."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.arena import Layout
from latency_tables.cortex_m.calls import Attention, LinearAttention
from latency_tables.cortex_m.calls.windows import Window
from latency_tables.cortex_m.code_size import FIRMWARE
from latency_tables.cortex_m.compilers import KERNELS, SOURCES
from latency_tables.cortex_m.kernel_sources import kernel_sources
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import Bytes
from ofa.mcu.bundle.net import net_source
from ofa.mcu.bundle.weights import lay_out_weights
from tests.latency_tables.cortex_m.test_kernels import CASES, any_bytes

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc and its sanitizers")

Case = tuple[Call, list[Map]]

_FLAGS = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wno-missing-braces"]
_SPARE = 3

_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "net.h"

extern int8_t *const given[], *const made[];
extern const int32_t given_bytes[], made_bytes[], num_given, num_made;

/* inputs from a file, outputs to a file; then so many random ones, every eighth of extremes alone */
int main(int count, char **words) {
    FILE *inputs = fopen(words[1], "rb"), *outputs = fopen(words[2], "wb");
    uint32_t state = 1;
    for (int32_t i = 0; i < num_given; i++) {
        if (fread(given[i], 1, (size_t)given_bytes[i], inputs) != (size_t)given_bytes[i]) return 2;
    }
    ofa_net_run();
    for (int32_t i = 0; i < num_made; i++) {
        fwrite(made[i], 1, (size_t)made_bytes[i], outputs);
    }
    fclose(inputs);
    fclose(outputs);
    for (long n = 0; count > 3 && n < atol(words[3]); n++) {
        for (int32_t i = 0; i < num_given; i++) {
            for (int32_t j = 0; j < given_bytes[i]; j++) {
                state = state * 1664525u + 1013904223u;
                given[i][j] = (int8_t)(n % 8 ? (int32_t)(state >> 24) - 128 : state >> 31 ? 127 : -128);
            }
        }
        ofa_net_run();
    }
    return 0;
}
"""


def merged(cases: list[Case]) -> tuple[Program, dict[str, str]]:
    """The cases as one program, and for each map the array it is in: an output in place is in its input's."""
    calls, shapes, arrays = [], {}, {}
    for number, (call, sides) in enumerate(cases):
        for over in {False, call.in_place and sides[-1] == sides[0]}:
            names = [f"map_{number}_{int(over)}_{index}" for index in range(len(sides))]
            shapes |= dict(zip(names, sides, strict=True))
            arrays |= {name: name for name in names} | ({names[-1]: names[0]} if over else {})
            calls.append(replace(call, inputs=tuple(names[:-1]), output=names[-1]))
    return Program(calls, calls[0].inputs[0], calls[-1].output, shapes), arrays


def c_of(program: Program, arrays: dict[str, str]) -> str:
    """`net.c` with an array for every map, for every call's memory and for every constant."""
    weights = lay_out_weights(program)
    lines, scratch = [], {}
    for name, array in arrays.items():
        if name == array:
            lines.append(f"static int8_t {name}[{program.size(name) + _SPARE}] __attribute__((aligned(16)));")
    for number, call in enumerate(program.calls):
        if call.scratch_bytes:
            scratch[call.output] = f"(void *)scratch_{number}"
            lines.append(f"static int8_t scratch_{number}[{call.scratch_bytes}] __attribute__((aligned(16)));")
        for name, array in call.constants().items():
            start = weights.places[number][name]
            numbers = ",".join(map(str, weights.data[start : start + array.nbytes]))
            lines.append(f"static const uint8_t constant_{start}[] __attribute__((aligned(16))) = {{{numbers}}};")
    lists = {"given": [n for call in program.calls for n in call.inputs], "made": [c.output for c in program.calls]}
    for which, names in lists.items():
        lines.append(f"int8_t *const {which}[] = {{{', '.join(arrays[name] for name in names)}}};")
        lines.append(f"const int32_t {which}_bytes[] = {{{', '.join(str(program.size(name)) for name in names)}}};")
        lines.append(f"const int32_t num_{which} = {len(names)};")
    places = {name: f"(void *){array}" for name, array in arrays.items()}
    arena, nowhere = "\n".join(lines), Layout({}, {}, 0, ())
    text = net_source(program, nowhere, weights, None, arena=arena, places=places, scratch=scratch)
    return re.sub(r"WEIGHTS\((\d+)\)", r"(const void *)constant_\1", text)


def check(cases: list[Case], rng: np.random.Generator, folder: Path, *, num_random: int) -> None:
    """Outputs as the reference has them, bit for bit, and nothing that a sanitizer objects to."""
    program, arrays = merged(cases)
    (folder / "net.c").write_text(c_of(program, arrays))
    (folder / "net.h").write_text('#include "kernels.h"\n')
    (folder / "main.c").write_text(_MAIN)
    inputs: list[Bytes] = [any_bytes(rng, *program.shapes[name]) for call in program.calls for name in call.inputs]
    (folder / "inputs.bin").write_bytes(b"".join(x.tobytes() for x in inputs))
    kernels = [str(SOURCES / name) for name in {"run.c", *kernel_sources(call.kernel for call in program.calls)}]
    sources = ["net.c", "main.c", str(FIRMWARE / "net_run.c"), *kernels]
    command = ["gcc", *_FLAGS, "-I.", f"-I{SOURCES}", *sources, "-o", "net"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    run = subprocess.run(
        ["./net", "inputs.bin", "outputs.bin", str(num_random)], cwd=folder, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[:3000]
    found = (folder / "outputs.bin").read_bytes()
    place = 0
    for call in program.calls:
        mine = [inputs.pop(0) for _ in call.inputs]
        size = program.size(call.output)
        expected = call.reference(*mine).tobytes()
        assert found[place : place + size] == expected, (call.kernel, call.geometry)
        place += size


DENSE = {"rank": None, "project_rank": None, "table": False}
FACTORS = {"rank": 3, "project_rank": 2, "table": True}

#: per kernel the sizes that are easily forgotten: one pixel, one channel, odd sides, windows larger than the image
CORNERS = {
    "pointwise": [
        {"pixels": 1, "i": 1, "o": 1, "table": False},
        {"pixels": 3, "i": 5, "o": 3, "table": True},
        {"pixels": 2, "i": 4, "o": 2, "table": False},
    ],
    "convolution": [
        {"window": Window.over(1, 1, 3, 1, 1), "i": 1, "o": 1, "table": False},
        {"window": Window.over(7, 5, 3, 2, 1), "i": 3, "o": 5, "table": True},
        {"window": Window.over(1, 1, 1, 1, 0), "i": 1, "o": 1, "table": False},
        {"window": Window.over(2, 3, 7, 3, 3), "i": 2, "o": 1, "table": False},
    ],
    "depthwise": [
        {"window": Window.over(1, 1, 3, 1, 1), "c": 1, "table": False},
        {"window": Window.over(1, 1, 5, 2, 2), "c": 3, "table": True},
        {"window": Window.over(5, 7, 5, 2, 2), "c": 7, "table": False},
        {"window": Window.over(3, 3, 7, 1, 3), "c": 4, "table": False},
    ],
    "global_average": [{"shape": (1, 1, 1)}, {"shape": (7, 5, 3)}],
    "average_pool": [{"window": Window(1, 1, 1, 1, 0, 1, 1), "c": 1}, {"window": Window(5, 7, 2, 2, 0, 3, 4), "c": 3}],
    "max_pool": [{"window": Window.over(1, 1, 3, 2, 1), "c": 1}, {"window": Window.over(5, 7, 3, 2, 1), "c": 3}],
    "add": [{"shape": (1, 1, 1), "table": False}, {"shape": (3, 5, 7), "table": True}],
    "scale": [{"shape": (1, 1, 1)}, {"shape": (5, 3, 7)}],
    "lookup": [{"shape": (1, 1, 1)}, {"shape": (3, 1, 5)}],
    "layer_norm": [{"tokens": 1, "d": 1, "eps": 1e-6}, {"tokens": 3, "d": 512, "eps": 100.0}],
    "attention": [{"tokens": 1, "heads": 1, "features": 4}, {"tokens": 11, "heads": 3, "features": 12}],
    "inverted_residual": [
        {"residual": True, "window": Window.over(1, 1, 3, 1, 1), "i": 1, "mid": 1, "o": 1, "table": False},
        {"residual": True, "window": Window.over(5, 7, 5, 1, 2), "i": 3, "mid": 7, "o": 3, "table": True},
        {"residual": True, "window": Window.over(3, 3, 3, 1, 1), "i": 5, "mid": None, "o": 5, "table": False},
        {"residual": False, "window": Window.over(7, 5, 3, 2, 1), "i": 3, "mid": 9, "o": 2, "table": False},
        {"residual": False, "window": Window.over(5, 5, 7, 3, 3), "i": 5, "mid": None, "o": 4, "table": True},
    ],
    "attention_by_operators": [{"tokens": 1, "heads": 1, "features": 4}, {"tokens": 11, "heads": 3, "features": 12}],
    "linear_attention": [{"tokens": 1, "heads": 1, "features": 4}, {"tokens": 11, "heads": 3, "features": 12}],
    "overwriting_attention": [
        {"tokens": 1, "d": 1, "heads": 1, "features": 4, "kind": Attention, **DENSE},
        {"tokens": 5, "d": 7, "heads": 3, "features": 8, "kind": Attention, **FACTORS},
        {"tokens": 5, "d": 7, "heads": 3, "features": 8, "kind": LinearAttention, **FACTORS},
    ],
    "overwriting_mlp": [
        {"tokens": 1, "d": 1, "inner": [], "table": False},
        {"tokens": 5, "d": 7, "inner": [3, 13, 3], "table": True},
    ],
    "patch_embedding": [
        {"window": Window.over(2, 2, 2, 2, 0), "c": 8, "o": 1, "table": False},
        {"window": Window.over(7, 5, 3, 3, 0), "c": 3, "o": 5, "table": True},
    ],
}


def test_corner_cases_are_clean(tmp_path: Path) -> None:
    """Ten inputs of each, a few of nothing but -128 and 127."""
    assert {*CORNERS} == {*KERNELS}
    rng = np.random.default_rng(0)
    cases = [CASES[kernel](None, rng, {**sizes}) for kernel, all_sizes in CORNERS.items() for sizes in all_sizes]
    check(cases, rng, tmp_path, num_random=10)


def test_a_byte_too_far_is_found(tmp_path: Path) -> None:
    """The harness can fail: a map that is shorter than its kernel reads."""
    rng = np.random.default_rng(0)
    call, _ = CASES["lookup"](None, rng, {"shape": (2, 2, 2)})
    with pytest.raises(AssertionError, match="global-buffer-overflow"):
        check([(call, [(1, 1, 4), (2, 2, 2)])], rng, tmp_path, num_random=0)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", CASES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_sizes_are_clean(kernel: str, draw: st.DataObject, seed: int, tmp_path: Path) -> None:
    """Eight random geometries of a kernel, 1,000 random inputs each."""
    rng = np.random.default_rng(seed)
    check([CASES[kernel](draw, rng, {}) for _ in range(8)], rng, tmp_path, num_random=1000)
