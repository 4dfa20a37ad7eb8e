"""Counts are exact and add up; another emulator counts the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest

from latency_tables.cortex_m import compilers
from latency_tables.cortex_m.compilers import Firmware, build_firmware, get_compiler
from latency_tables.cortex_m.cores import CORES, get_core
from latency_tables.cortex_m.counting import Counter, network_program, operator_program
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.estimate import estimate
from latency_tables.cortex_m.instruction_classes import CLASSES, instruction_classes
from latency_tables.cortex_m.program import Program
from latency_tables.counted import COUNTED
from latency_tables.shipped import find_table
from latency_tables.table import load_table
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mobilenet_v3_digits", "resolution": [16]}, 10, 1)


def programs(space: SearchSpace, num: int) -> list[Program]:
    rows = space.sample(num, np.random.default_rng(0))
    return [network_program(space, architecture) for architecture in space.decode(rows)]


def test_calls_add_up_to_networks_to_the_instruction(firmware: Firmware, space: SearchSpace) -> None:
    counter = Counter(firmware)
    for program in programs(space, 3):
        assert counter.around + counter.total(program) == counter.whole(program)


def test_transformers_add_up_too(m4: Firmware) -> None:
    settings = {"attention": ["softmax"], "keep": [1], "selects": [], "patch": [8], "depth": [3]}
    space = get_space({"name": "vit_nano", **settings}, 10, 3)
    (architecture,) = space.decode(space.sample(1, np.random.default_rng(1)))
    counter = Counter(m4)
    parts = sum(counter.total(operator_program(operator)) for _, operator in space.network(architecture))
    assert counter.around + parts == counter.whole(network_program(space, architecture))


def test_every_core_counts(space: SearchSpace) -> None:
    (program,) = programs(space, 1)
    counts = {name: Counter(build_firmware(core)).whole(program) for name, core in CORES.items()}
    assert list(counts) == [name for name in COUNTED.names() if name.startswith("cortex")]
    assert all(counts["cortex-m3"] > 1.2 * count for name, count in counts.items() if name != "cortex-m3"), counts


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4"])
@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_qemu_counts_the_same_of_the_same_binary(
    core: str, compiler: str, space: SearchSpace, count_in_qemu: Callable[[Program, Firmware], int]
) -> None:
    if compiler == "gcc" and shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    firmware = build_firmware(get_core(core), compiler)
    (program,) = programs(space, 1)
    assert count_in_qemu(program, firmware) == Counter(firmware).whole(program)


def test_a_geometry_is_emulated_once(m4: Firmware, space: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = programs(space, 1)
    counter = Counter(m4)
    first = counter.total(program)
    monkeypatch.setattr("latency_tables.cortex_m.counting.emulate", None)
    assert Counter.total(counter, program) == first


ENCODED = {
    "load": "0868 485b 01c9 f0bd 91f80000 d0e90001 bde8f041 0148",  # ldr, ldrh, ldm, pop, ldrb.w, ldrd, pop.w, literal
    "store": "0860 4852 01c1 f0b5 c0f80000 c0e90001 2de9f041",
    "multiply": "4843 01fb02f0 21fb0210 81fb0223 50fb01f0",  # mul, mul.w, smlad, smull, smmul
    "divide": "91fbf2f0 b1fbf2f0",
    "branch": "fed0 fee7 7047 08b1 00f001f8 00f00080 dfe800f0",  # beq, b, bx, cbz, bl, b.w, tbb
    "other": "00bf 08bf 4018 bff35f8f eff30080 4ffab1f0 00eb4100",  # nop, it, add, dmb, mrs, sxtb.w, add.w
}


@pytest.mark.parametrize("name", CLASSES)
def test_instructions_are_told_apart(name: str) -> None:
    for code in map(bytes.fromhex, ENCODED[name].split()):
        assert instruction_classes(code) == tuple(int(name == each) for each in CLASSES), code.hex()
    together = instruction_classes(bytes.fromhex(ENCODED[name].replace(" ", "")))
    assert together[CLASSES.index(name)] == sum(together) == len(ENCODED[name].split())


def test_an_estimate_is_the_weighted_sum_and_says_what_it_is(m4: Firmware, space: SearchSpace) -> None:
    table = load_table(find_table("cortex_m4_mobilenet_v3_28"))
    shipped = table.measured_space()
    smallest = shipped.decode(shipped.smallest()[None])[0]
    ones = dict.fromkeys(CLASSES, 1.0)
    found = estimate(table, smallest, clock_hz=1e6, weights=ones)
    assert found.cycles == table.cost(shipped).minimum()[0] == sum(found.by_class.values())
    assert found.ms == found.cycles / 1e3 and "not measured" in found.note
    usual = estimate(table, smallest, clock_hz=1e6)
    assert (
        usual.cycles == found.cycles + found.by_class["load"] + found.by_class["branch"] + 6 * found.by_class["divide"]
    )
    (program,) = programs(space, 1)
    assert emulate(program, m4).instructions == sum(emulate(program, m4).by_class.values())
    m7 = load_table(find_table("cortex_m7_mobilenet_v3_28"))
    with pytest.raises(UserError, match="nothing is published of how many cycles a cortex-m7 takes"):
        estimate(m7, smallest, clock_hz=1e6)
    with pytest.raises(UserError, match="class of instructions"):
        estimate(table, smallest, clock_hz=1e6, weights={"loads": 2})


def test_an_operator_without_kernels_is_named() -> None:
    space = get_space({"name": "vit_nano"}, 10, 3)
    key, operator = next((key, op) for key, op in space.operators().items() if getattr(op, "form", "") == "hilo")
    with pytest.raises(UserError, match="there is no Cortex-M kernel for") as caught:
        operator_program(operator)
    assert str(caught.value).startswith(key)


def test_unknown_names_are_told() -> None:
    with pytest.raises(UserError, match=r"unknown core 'cortex-m5'\. Did you mean 'cortex-m"):
        get_core("cortex-m5")
    with pytest.raises(UserError, match="unknown compiler 'icc'"):
        build_firmware(get_core("cortex-m4"), "icc")


def test_a_compiler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    build_firmware.cache_clear()
    get_compiler.cache_clear()
    with pytest.raises(UserError, match=r"'ziglang', which is not installed.*pip install 'ofa-nas\[mcu\]'"):
        build_firmware(get_core("cortex-m4"))
    with pytest.raises(UserError, match="arm-none-eabi-gcc, which is not installed"):
        build_firmware(get_core("cortex-m4"), "gcc")


def test_a_compiler_that_fails_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "FLAGS", ("-std=c11", "--no-such-flag"))
    build_firmware.cache_clear()
    with pytest.raises(UserError, match=r"failed: .*no-such-flag") as caught:
        build_firmware(get_core("cortex-m4"))
    assert "\n" not in str(caught.value)
    build_firmware.cache_clear()


def test_a_second_build_is_the_same_machine_code(m4: Firmware) -> None:
    build_firmware.cache_clear()
    again = build_firmware(get_core("cortex-m4"))
    assert again is not m4 and again.provenance == m4.provenance and again.segments == m4.segments
