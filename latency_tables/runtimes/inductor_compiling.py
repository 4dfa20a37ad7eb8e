"""AOTInductor, with what it compiles again for every network compiled once.

AOTInductor writes two C++ files for a network. One calls its kernels; the greater part of it is the interface that all
such libraries have, the same text every time, with templates that only the interface needs: four fifths of the
compiler's time. The other has the kernels, and a table's operators have many in common: one of kernel 3 and one of
kernel 5 differ in a convolution, which is torch's own, not in what comes after it.

Here the interface is compiled apart from the calls of a network, both with the flags that torch gives, and joined to
the object file that torch asked for; the interface and kernels are kept where torch keeps compiled code, and taken
from there when they come again. The compiler inlines a little more in the smaller file, for which a call of a network
takes up to 2 % longer (`docs/benchmarks.md`); a network is exported as torch compiles it.

The text is torch's own and may change with it: what does not look as expected, or does not compile in two, is
compiled as torch would.

A network's library is made so that it can be unloaded, which neither a unique symbol allows (`STB_GNU_UNIQUE`, what
GCC makes of a static variable in a template) nor a thread's own variable with a destructor (the message of the last
error). Else its unpacked file keeps its space on the disk, although it is removed, until the process ends: a table's
networks are loaded again and again, and those of `ofa_resnet50` filled 27 GB.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch.export import ExportedProgram

from search_spaces.common.files import digest, write_bytes

#: the line that ends the interface's part of the file
_END = re.compile(r'^} // extern "C"$', re.MULTILINE)

#: what that part begins with, of which the calls need the same
_INCLUDES = re.compile(r"\A(?:\s*(?://.*)?\n|#include .*\n)+")
_CONTAINER = "torch/csrc/inductor/aoti_runtime/model_container.h"
_MODEL = "torch/csrc/inductor/aoti_runtime/model.h"

#: templates of the constructor of a model: made in the interface's part, declared in the other
_TEMPLATES = """
#include <regex>
#ifdef __GLIBCXX__
{extern} template class std::basic_regex<char>;
namespace std {{ namespace __detail {{
{extern} template class _Compiler<std::regex_traits<char>>;
}} }}
#endif
namespace torch::aot_inductor {{
{extern} template class AOTInductorModelBase<AOTInductorModel>;
}}
"""

#: of the interface, in which it is the last error's
_THREAD_LOCAL = re.compile(r"\bthread_local (?=std::string )")

#: a line that is a comment: those of the kernels name files of this one compilation
_COMMENT = re.compile(r"^\s*//.*\n?", re.MULTILINE)

_Run = Callable[[str, str], None]


def compile_package(program: ExportedProgram) -> bytes:
    """The `.pt2` file of `program`. The same program gives the same code, but the archive around it holds times."""
    from torch._inductor import aoti_compile_and_package, config

    archive = io.BytesIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        config.patch({"aot_inductor.output_path": folder}),  # else megabytes a network stay in torch's cache
        _objects_kept(),
    ):
        aoti_compile_and_package(program, package_path=archive)
    return archive.getvalue()


@contextmanager
def _objects_kept() -> Iterator[None]:
    from torch._inductor import cpp_builder

    torch_run = cpp_builder.run_compile_cmd

    def run(cmd_line: str, cwd: str) -> None:
        cmd_line = _unloadable(cmd_line)
        if not _compile(cmd_line, cwd, torch_run):
            torch_run(cmd_line, cwd)

    cpp_builder.run_compile_cmd = run
    try:
        yield
    finally:
        cpp_builder.run_compile_cmd = torch_run


def _unloadable(command: str) -> str:
    """The command of a library that can be unloaded; other compilers than GCC make no unique symbols."""
    defined = _predefined(shlex.split(command)[0])
    return f"{command} -fno-gnu-unique" if "__GNUC__" in defined and "__clang__" not in defined else command


def split(source: str) -> tuple[str, str] | None:
    """The C++ of the interface and that of a network's calls, from the file of both; None where it is another file."""
    end, includes = _END.search(source), _INCLUDES.match(source)
    if end is None or includes is None or _CONTAINER not in includes[0]:
        return None
    interface = _THREAD_LOCAL.sub("", source[: end.end()]) + "\n" + _TEMPLATES.format(extern="")
    calls = includes[0].replace(_CONTAINER, _MODEL) + _TEMPLATES.format(extern="extern") + source[end.end() :]
    return interface, calls


@dataclass(frozen=True)
class _Compilation:
    compiler: str
    flags: Sequence[str]
    source: Path
    target: Path
    #: a folder of this compilation, which torch removes
    folder: Path

    @staticmethod
    def of(command: str, cwd: str) -> _Compilation | None:
        compiler, *words = shlex.split(command)
        sources = [word for word in words if word.endswith(".cpp")]
        if len(sources) != 1 or "-c" not in words or "-o" not in words[:-1]:
            return None
        output = words[words.index("-o") + 1]
        flags = [word for word in words if word not in (sources[0], "-c", "-o", output)]
        return _Compilation(compiler, flags, Path(cwd, sources[0]), Path(cwd, output), Path(cwd))

    def write(self, run: _Run) -> bytes:
        command = [self.compiler, str(self.source), *self.flags, "-c", "-o", str(self.target)]
        run(shlex.join(command), str(self.folder))
        return self.target.read_bytes()

    def named(self, name: str, text: str) -> _Compilation:
        """The compilation of `text` with the same flags."""
        source = self.folder / name
        source.write_text(text, "utf-8")
        return replace(self, source=source, target=source.with_suffix(".o"))

    def kept(self, text: str) -> Path:
        """Where the object file of `text` by this torch, compiler and flags, for this processor, is kept."""
        from torch._inductor.runtime.cache_dir_utils import cache_dir

        of = [text, self.flags, str(torch.__version__), _predefined(self.compiler)]
        return Path(cache_dir(), "ofa_objects", digest(of) + ".o")


def _compile(command: str, cwd: str, run: _Run) -> bool:
    """Whether the object file of `command` is written."""
    from torch._inductor.exc import CppCompileError

    compilation = _Compilation.of(command, cwd)
    if compilation is None:
        return False
    text = compilation.source.read_text("utf-8")
    if compilation.source.name.endswith(".kernel.cpp"):
        compilation.target.write_bytes(_object(compilation, _COMMENT.sub("", text), run).read_bytes())
        return True
    if not compilation.source.name.endswith(".wrapper.cpp") or (parts := split(text)) is None:
        return False
    try:
        interface = _object(compilation.named("interface.cpp", parts[0]), parts[0], run)
        calls = compilation.named("calls.cpp", parts[1])
        calls.write(run)
        joined = [compilation.compiler, "-r", "-nostdlib", "-o", compilation.target, interface, calls.target]
        run(shlex.join(map(str, joined)), cwd)
    except CppCompileError:
        return False
    return True


def _object(compilation: _Compilation, text: str, run: _Run) -> Path:
    """The kept object file of `text`, compiled if it was not."""
    kept = compilation.kept(text)
    if not kept.exists():
        write_bytes(kept, compilation.write(run))
    return kept


@cache
def _predefined(compiler: str) -> str:
    """What it defines of itself, with its release, and of this processor, with its instruction set."""
    command = [compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).stdout.decode(errors="replace")
