"""Sizes are known before linking, and are those of what each network uses."""

from __future__ import annotations

import pytest

from latency_tables.cortex_m import kernel_sources as sources
from latency_tables.cortex_m.code_size import code_bytes, network_flash
from latency_tables.cortex_m.compilers import KERNELS, Firmware
from latency_tables.cortex_m.counting import operator_program
from latency_tables.cortex_m.footprint import flash
from search_spaces import get_space


def test_every_kernel_is_found_with_its_struct() -> None:
    for kernel in KERNELS:
        files = sources.kernel_sources([kernel])
        assert files and (sources.SOURCES / files[0]).exists()
        header = (sources.SOURCES / "kernels.h").read_text()
        assert f"struct {sources.kernel_struct(kernel)} {{" in header
    assert sources.kernel_sources(["add", "pointwise", "lookup"]) == ("elementwise.c", "pointwise.c")


def test_files_that_a_kernel_calls_come_with_it(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels.h").write_text("void ofa_far(const void *arguments);\nvoid ofa_near(const void *arguments);\n")
    (tmp_path / "part.h").write_text("void ofa_part(int a);\nstatic inline void p(void) { ofa_far(0); }\n")
    (tmp_path / "far.c").write_text("/* ofa_unused( { */\nvoid ofa_far(const void *arguments) {\n}\n")
    (tmp_path / "table.c").write_text("const short ofa_table[2] = {\n1, 2};\n")
    near = "void ofa_near(const void *arguments) {\n    const struct shared *call = arguments;\n    p();\n"
    (tmp_path / "near.c").write_text(f'#include "part.h"\n{near}    use(ofa_table[0]);\n}}\n')
    (tmp_path / "unused.c").write_text("void ofa_unused(void) {\n}\nvoid ofa_part(int a) {\n}\n")
    (tmp_path / "start.c").write_text("void ofa_start(void) { ofa_near(0); }\n")
    monkeypatch.setattr(sources, "SOURCES", tmp_path)
    sources._files.cache_clear()
    sources._text.cache_clear()
    try:
        assert sources.kernel_sources(["near"]) == ("far.c", "near.c", "table.c")
        assert sources.kernel_sources(["far"]) == ("far.c",)
        assert sources.kernel_struct("near") == "shared"
    finally:
        sources._files.cache_clear()
        sources._text.cache_clear()


def test_what_networks_share_is_counted_once(m4: Firmware) -> None:
    """Constants and arguments of the operators, and the code: to the padding, this is what a network takes."""
    space = get_space({"name": "mobilenet_v3_digits", "resolution": [16]}, 10, 1)
    programs = [operator_program(operator) for operator in list(space.operators().values())[:6]]
    kernels = {call.kernel for program in programs for call in program.calls}
    code = code_bytes(m4, kernels)
    assert code_bytes(m4, KERNELS) > code > code_bytes(m4, ["pointwise"]) > 64
    for program in programs:
        own = code_bytes(m4, {call.kernel for call in program.calls})
        assert 0 <= network_flash(program, m4) - own - flash(program) <= 4 + 16 + 4
        assert network_flash(program, m4, num_tables=3) - network_flash(program, m4) == 3 * 256
        assert network_flash(program, m4, board="rp2350") > network_flash(program, m4)
