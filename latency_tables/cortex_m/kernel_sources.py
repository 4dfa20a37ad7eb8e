"""What the kernels' C files hold: which files a kernel is made of, and which struct it takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from latency_tables.cortex_m.compilers import SOURCES

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
#: a function or a constant that others see: its line begins with its type, and ends with a brace
_DEFINED = re.compile(r"^(?!static|extern)[a-z][^;{}=]*?\bofa_(\w+)(?:\(|\[)[^;{}]*\{", re.MULTILINE)
_DECLARED = re.compile(r"^[a-z][^;{}=()]*\bofa_\w+\([^;{}]*\);", re.MULTILINE)
_KERNEL = r"^void ofa_{kernel}\(const void \*arguments\) \{{\s*const struct (\w+) \*\w+ = arguments;"


def kernel_sources(kernels: Iterable[str]) -> tuple[str, ...]:
    """The files that `kernels` are written in, and those with what these call, sorted."""
    defined = {name: file for file in _files() for name in _DEFINED.findall(_text(file))}
    wanted, found = [defined[kernel] for kernel in {*kernels}], set()
    while wanted:
        file = wanted.pop()
        if file not in found:
            found.add(file)
            names = re.findall(r"\bofa_(\w+)", _DECLARED.sub("", "".join(_with_headers(file))))
            wanted += [defined[name] for name in names if name in defined]
    return tuple(sorted(found))


def kernel_struct(kernel: str) -> str:
    """The name of the struct that a kernel's arguments are."""
    found = (re.search(_KERNEL.format(kernel=kernel), _text(file), re.MULTILINE) for file in _files())
    return next(match[1] for match in found if match)


def _with_headers(file: str) -> Iterator[str]:
    """The text of a file and of all headers it includes but the one that names every kernel."""
    yield _text(file)
    for header in re.findall(r'^#include "(\w+\.h)"', _text(file), re.MULTILINE):
        if header != "kernels.h":
            yield from _with_headers(header)


@cache
def _files() -> tuple[str, ...]:
    """Those of kernels: what goes around them in an emulator names all of them."""
    return tuple(sorted(path.name for path in SOURCES.glob("*.c") if path.name != "start.c"))


@cache
def _text(file: str) -> str:
    """Without comments."""
    return _COMMENT.sub("", (SOURCES / file).read_text())
