"""What AOTInductor compiles: once what comes again, whole where its text is another, nothing left behind."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from latency_tables.runtimes import inductor_compiling
from latency_tables.runtimes.inductor_compiling import compile_package, split

INCLUDES = """
#include <torch/csrc/inductor/aoti_include/cpu.h>
// Definition of AOTI runtime interface functions

#include <torch/csrc/inductor/aoti_runtime/interface.h>
#include <torch/csrc/inductor/aoti_runtime/model_container.h>
"""
INTERFACE = '#define CHECK(x) x\nextern "C" {\nint run() { return CHECK(1); }\n} // extern "C"'
KINDS = ("interface.cpp", "calls.cpp", ".wrapper.cpp", ".kernel.cpp")
CALLS = '\nextern "C" void kernel();\nnamespace { int x = 1; }\n'


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files of networks that are compiled, in turn: torch compiles others when it first asks for the processor."""
    from torch._inductor import cpp_builder

    files: list[Path] = []
    run = cpp_builder.run_compile_cmd

    def record(command: str, cwd: str) -> None:
        files.extend(Path(word) for word in shlex.split(command) if word.endswith(KINDS))
        run(command, cwd)

    monkeypatch.setattr(cpp_builder, "run_compile_cmd", record)
    yield files
    assert cpp_builder.run_compile_cmd is record  # put back, whatever happened


def block(kernel: int) -> nn.Module:
    torch.manual_seed(kernel)
    conv = nn.Conv2d(3, 16, kernel, padding=kernel // 2)  # few weights would stand in the code
    network = nn.Sequential(conv, nn.Hardswish(), nn.Conv2d(16, 12, 1), nn.Sigmoid()).eval()
    return network.to(memory_format=torch.channels_last)


def package(module: nn.Module) -> bytes:
    with torch.no_grad():
        return compile_package(torch.export.export(module, (image(),)))


def image() -> torch.Tensor:
    x = torch.randn(1, 3, 11, 11, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


def runs_like(module: nn.Module, packed: bytes, folder: Path) -> bool:
    """Whether the package computes what `module` does; it is let go at the end."""
    from torch._inductor import aoti_load_package

    path = folder / "network.pt2"
    path.write_bytes(packed)
    x = image()
    network = aoti_load_package(str(path))
    with torch.inference_mode():
        return torch.allclose(network(x), module(x), atol=1e-5)


def test_what_two_networks_share_is_compiled_once(
    compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.runtime.cache_dir_utils.cache_dir", lambda: str(tmp_path / "cache"))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    first = package(block(3))
    assert [file.name for file in compiled][:2] == ["interface.cpp", "calls.cpp"] and len(compiled) == 3
    compiled.clear()
    second = package(block(5))
    (calls,) = compiled
    assert calls.name == "calls.cpp" and not calls.parent.parent.exists(), "something was left behind"
    monkeypatch.setenv("TMPDIR", str(unpacked))  # where torch unpacks packages
    assert runs_like(block(3), first, tmp_path) and runs_like(block(5), second, tmp_path)
    assert not list(unpacked.iterdir())
    maps = Path("/proc/self/maps")  # a removed file that is still mapped keeps its space on the disk
    assert not maps.exists() or str(unpacked) not in maps.read_text()


def test_what_does_not_compile_in_two_is_compiled_whole(
    compiled: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inductor_compiling, "split", lambda text: ("int x;", "this does not compile"))
    packed = package(block(3))
    assert [file for file in compiled if file.name.endswith(".wrapper.cpp")]
    assert runs_like(block(3), packed, tmp_path)


@pytest.mark.parametrize(
    ("name", "options"),
    [("other.wrapper.cpp", "-c -o"), ("other.wrapper.cpp", "-shared -o"), ("other.cpp", "-c -o")],
    ids=["other text", "linking", "another file"],
)
def test_other_commands_are_left_to_torch(name: str, options: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("int x;")
    ran: list[str] = []
    command = f"g++ {name} {options} {name}.o"
    assert not inductor_compiling._compile(command, str(tmp_path), lambda command, cwd: ran.append(command))
    assert ran == []


def test_both_parts_have_the_includes_and_each_its_own_code() -> None:
    interface, calls = split(INCLUDES + INTERFACE + CALLS) or pytest.fail("did not come apart")
    assert interface.startswith(INCLUDES + INTERFACE) and "kernel" not in interface
    assert CALLS in calls and "CHECK" not in calls and "interface.h>" in calls
    assert "extern template" in calls and "extern template" not in interface


@pytest.mark.parametrize(
    "text",
    [
        INCLUDES + CALLS,
        INTERFACE + CALLS,
        "#define X 1\n" + INCLUDES + INTERFACE + CALLS,
        INCLUDES.replace("model_container", "container") + INTERFACE + CALLS,
    ],
    ids=["no end", "no includes", "something before them", "another include"],
)
def test_other_text_does_not_come_apart(text: str) -> None:
    assert split(text) is None
