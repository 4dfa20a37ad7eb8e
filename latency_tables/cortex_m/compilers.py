"""The kernels as machine code: compiled once for a core, linked at fixed addresses, the same for every network.

A compiler that sees a kernel's call makes other code of it, with another number of instructions. So every source is an
object of its own, there is no link-time optimisation, and a network is data that the finished code reads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from latency_tables.cortex_m.cores import Core
from search_spaces.common.errors import UserError, unknown_name

SOURCES = Path(__file__).with_name("kernels")

#: the order of `ofa_kernels` in start.c
KERNELS = (
    "pointwise",
    "convolution",
    "depthwise",
    "global_average",
    "average_pool",
    "max_pool",
    "add",
    "scale",
    "lookup",
    "layer_norm",
    "attention",
    "attention_by_operators",
    "linear_attention",
    "overwriting_attention",
    "overwriting_mlp",
    "patch_embedding",
)

_FLAGS = ("-std=c11", "-O2", "-g0", "-ffreestanding", "-fno-builtin", "-fomit-frame-pointer", "-Wall", "-Wextra")
_GCC_FLAGS = ("-mthumb", "-mfloat-abi=soft", "-fno-tree-loop-distribute-patterns")


@dataclass(frozen=True)
class Compiler:
    """`title` says which one it is and its version."""

    title: str
    program: list[str]
    flags: Callable[[Core], list[str]]

    def command(self, core: Core) -> list[str]:
        return [*self.program, *self.flags(core)]


@dataclass(frozen=True)
class Firmware:
    """Linked kernels: `segments` are (address, bytes), `symbols` addresses of functions (no Thumb bit)."""

    core: Core
    segments: tuple[tuple[int, bytes], ...]
    symbols: dict[str, int]
    elf: bytes
    provenance: dict[str, str]
    """Compiler and version, flags, hashes of the kernels' sources and machine code."""


@lru_cache(maxsize=16)
def build_firmware(core: Core, compiler: str = "zig") -> Firmware:
    """Compile and link all kernels; takes some seconds the first time.

    Raises `UserError` for an unknown compiler, one that is not installed, or one that fails.
    """
    if compiler not in _COMPILERS:
        raise unknown_name("compiler", compiler, _COMPILERS, key="compiler")
    found = _COMPILERS[compiler]()
    command = [*found.command(core), *_FLAGS]
    with tempfile.TemporaryDirectory(prefix="ofa-kernels-") as name:
        folder = Path(name)
        objects = []
        for source in sorted(SOURCES.glob("*.c")):
            objects.append(f"{source.stem}.o")
            _run([*command, "-I", str(SOURCES), "-c", str(source), "-o", objects[-1]], folder)
        link = ["-nostdlib", "-Wl,--entry=ofa_start", "-Wl,--build-id=none", "-T", str(SOURCES / "link.ld")]
        _run([*found.command(core), *link, *objects, "-o", "kernels.elf"], folder)
        elf = (folder / "kernels.elf").read_bytes()
    segments, symbols = _read_elf(elf)
    code = hashlib.sha256(b"".join(data for _, data in segments)).hexdigest()
    flags = " ".join([*found.flags(core), *_FLAGS])
    provenance = {"compiler": found.title, "flags": flags, "kernels": kernels_digest(), "machine_code": code}
    return Firmware(core, segments, symbols, elf, provenance)


def kernels_digest() -> str:
    """SHA-256 of all sources and the linker script, names included."""
    total = hashlib.sha256()
    for source in sorted(SOURCES.glob("*.[chl]*")):
        total.update(f"{source.name} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _zig() -> Compiler:
    if importlib.util.find_spec("ziglang") is None:
        raise UserError(
            "needs the package 'ziglang', which is not installed",
            key="compiler",
            value="zig",
            hint="pip install 'ofa-nas[mcu]'",
        )
    zig = [sys.executable, "-m", "ziglang"]
    version = _run([*zig, "version"]).strip()
    clang = _run([*zig, "cc", "--version"]).splitlines()[0].split(" (")[0]

    def flags(core: Core) -> list[str]:
        return ["-target", "thumb-freestanding-eabi", f"-mcpu={core.zig}"]

    return Compiler(f"zig {version} ({clang})", [*zig, "cc"], flags)


def _gcc() -> Compiler:
    program = "arm-none-eabi-gcc"
    if shutil.which(program) is None:
        raise UserError(
            f"needs {program}, which is not installed",
            key="compiler",
            value="gcc",
            hint="apt-get install --no-install-recommends gcc-arm-none-eabi, or take the compiler zig",
        )

    def flags(core: Core) -> list[str]:
        return [f"-mcpu={core.gcc}", *_GCC_FLAGS]

    return Compiler(_run([program, "--version"]).splitlines()[0], [program], flags)


_COMPILERS: dict[str, Callable[[], Compiler]] = {"zig": _zig, "gcc": _gcc}


def _run(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        line = next((line for line in said if "error" in line), said[0])
        raise UserError(f"{' '.join(command[:4])} ... failed: {line}", key="compiler")
    return done.stdout


def _read_elf(elf: bytes) -> tuple[tuple[tuple[int, bytes], ...], dict[str, int]]:
    try:
        from elftools.elf.elffile import ELFFile
        from elftools.elf.sections import SymbolTableSection
    except ModuleNotFoundError as error:
        hint = "pip install 'ofa-nas[mcu]'"
        raise UserError("counting needs the package 'pyelftools', which is not installed", hint=hint) from error
    file = ELFFile(io.BytesIO(elf))
    loaded = [part for part in file.iter_segments() if part["p_type"] == "PT_LOAD" and part["p_filesz"]]
    segments = tuple((int(part["p_paddr"]), part.data()) for part in loaded)
    table = file.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    symbols = {symbol.name: int(symbol["st_value"]) & ~1 for symbol in table.iter_symbols() if symbol.name}
    return segments, {name: address for name, address in symbols.items() if name.startswith("ofa_")}
