"""Kernels of transformers: the table they share, where they write, and images that end where the arena does."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import Pointwise
from latency_tables.cortex_m.calls.tokens import exponents
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.image import ARENA, MEMORY, NETWORK, build_image
from latency_tables.cortex_m.program import Program
from tests.latency_tables.cortex_m.transformer_cases import TRANSFORMERS
from tests.latency_tables.cortex_m.values import any_bytes, any_finish

unicorn = pytest.importorskip("unicorn")


def test_the_table_of_exponents_is_that_of_the_reference(m4: Firmware) -> None:
    at = m4.symbols["ofa_exponents"]
    address, data = next(part for part in m4.segments if part[0] <= at < part[0] + len(part[1]))
    assert [*struct.unpack_from("<512H", data, at - address)] == exponents().tolist()


def accesses(program: Program, firmware: Firmware) -> list[tuple[bool, int, int]]:
    """Of the arena: whether written, offset, number of bytes."""
    from unicorn import arm_const as arm

    image, found = build_image(program, firmware), []
    machine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    machine.ctl_set_cpu_model(getattr(arm, firmware.core.unicorn))
    for address, size in ((0, NETWORK), (NETWORK, 1 << 20), (MEMORY, 1 << 20)):
        machine.mem_map(address, size)
    for address, data in (*firmware.segments, (NETWORK, image.constants)):
        machine.mem_write(address, data)

    def touched(machine: Any, kind: int, address: int, size: int, value: int, data: Any) -> None:
        if address >= ARENA - 4096:
            found.append((kind == unicorn.UC_MEM_WRITE, address - ARENA, size))

    machine.hook_add(unicorn.UC_HOOK_MEM_WRITE | unicorn.UC_HOOK_MEM_READ, touched, begin=ARENA - 4096, end=1 << 32)
    machine.reg_write(arm.UC_ARM_REG_SP, firmware.symbols["ofa_stack_top"] - 4096)  # apart from the arena
    machine.emu_start(firmware.symbols["ofa_start"] | 1, firmware.symbols["ofa_stop"])
    return found


@pytest.mark.parametrize("kernel", ["overwriting_attention", "overwriting_mlp", "patch_embedding"])
@settings(max_examples=10, deadline=None)
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_nothing_is_touched_but_the_map_and_all_of_its_scratch_memory(
    kernel: str, m4: Firmware, draw: st.DataObject, seed: int
) -> None:
    """A map is read up to 3 bytes behind its end, never written there; the last byte of scratch memory is needed."""
    call, shapes = TRANSFORMERS[kernel](draw, np.random.default_rng(seed), {})
    program = Program([call], "x", "y", {"x": shapes[0], "y": shapes[1]})
    layout = plan(program)
    assert layout.offsets["x"] == layout.offsets["y"]
    size, scratch = program.size("x"), layout.scratch["y"]
    ends = []
    for written, offset, count in accesses(program, m4):
        if offset >= scratch:
            assert offset + count <= scratch + call.scratch_bytes
            ends.append(offset + count - scratch)
        else:
            assert 0 <= offset <= offset + count <= size + (0 if written else 3)
    assert max(ends) >= call.scratch_bytes - 3


@settings(max_examples=10, deadline=None)
@given(draw=st.data(), seed=st.integers(0, 2**32 - 1))
def test_patches_at_the_other_end_of_the_arena(m4: Firmware, draw: st.DataObject, seed: int) -> None:
    """Behind a call that moves the image there, tokens are written from the last on, and end where the image did."""
    rng = np.random.default_rng(seed)
    call, (image, tokens) = TRANSFORMERS["patch_embedding"](draw, rng, {})
    pixels, c = image[0] * image[1], image[2]
    ends = {"inputs": ("before",), "output": "x"}
    finish, biases = any_finish(rng, c, c, False), rng.integers(-99, 99, c)
    move = Pointwise(**ends, weights=any_bytes(rng, c, c), biases=biases, finish=finish, pixels=pixels)
    program = Program([move, call], "before", "y", {"before": image, "x": image, "y": tokens})
    layout = plan(program)
    assert layout.offsets["before"] == 0 < layout.offsets["x"] < layout.offsets["y"]
    assert 0 <= layout.num_bytes - layout.offsets["y"] - program.size("y") - 3 < 16
    x = any_bytes(rng, *image)
    np.testing.assert_array_equal(emulate(program, m4, x).output, program.reference(x))
