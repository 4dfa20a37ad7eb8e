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
from collections.abc import Callable, Sequence
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
    "inverted_residual",
    "attention_by_operators",
    "linear_attention",
    "overwriting_attention",
    "overwriting_mlp",
    "patch_embedding",
)

#: for every source, of every compiler
FLAGS = ("-std=c11", "-O2", "-g0", "-ffreestanding", "-fno-builtin", "-fomit-frame-pointer", "-Wall", "-Wextra")
#: of GCC alone: no FPU is taken for granted, and no loop becomes a call of a library
GCC_FLAGS = ("-mthumb", "-mfloat-abi=soft", "-fno-tree-loop-distribute-patterns")


@dataclass(frozen=True)
class Compiler:
    """`title` says which one it is and its version."""

    title: str
    program: list[str]
    target: Callable[[Core], list[str]]
    """The flags that say for which core."""

    def flags(self, core: Core) -> list[str]:
        return [*self.target(core), *FLAGS]

    def compile(
        self, core: Core, source: Path, *, folder: Path, include: Sequence[Path] = (), define: Sequence[str] = ()
    ) -> str:
        """Compile `source` by itself into an object in `folder`; its name. Raises `UserError` with the first error."""
        words = [*(f"-I{path}" for path in include), *(f"-D{name}" for name in define)]
        name = f"{source.stem}.o"
        _run([*self.program, *self.flags(core), *words, "-c", str(source), "-o", name], folder)
        return name

    def link(self, core: Core, objects: Sequence[str], *, script: Path, entry: str, output: str, folder: Path) -> bytes:
        """Link objects of `folder` as `script` says, without any library; the ELF file."""
        words = ["-nostdlib", f"-Wl,--entry={entry}", "-Wl,--build-id=none", "-T", str(script)]
        _run([*self.program, *self.target(core), *words, *objects, "-o", output], folder)
        return (folder / output).read_bytes()


@dataclass(frozen=True)
class Firmware:
    """Linked kernels: `segments` are (address, bytes), `symbols` addresses of functions (no Thumb bit)."""

    core: Core
    segments: tuple[tuple[int, bytes], ...]
    symbols: dict[str, int]
    elf: bytes
    provenance: dict[str, str]
    """Compiler and version, flags, hashes of the kernels' sources and machine code."""
    compiler: str
    """The name it is chosen by: `zig` or `gcc`."""
    objects: dict[str, bytes]
    """Every source compiled by itself, by the source's name."""


@lru_cache(maxsize=16)
def build_firmware(core: Core, compiler: str = "zig") -> Firmware:
    """Compile and link all kernels; takes some seconds the first time.

    Raises `UserError` for an unknown compiler, one that is not installed, or one that fails.
    """
    found = get_compiler(compiler)
    with tempfile.TemporaryDirectory(prefix="ofa-kernels-") as name:
        folder = Path(name)
        sources = sorted(SOURCES.glob("*.c"))
        made = [found.compile(core, source, folder=folder, include=[SOURCES]) for source in sources]
        elf = found.link(core, made, script=SOURCES / "link.ld", entry="ofa_start", output="kernels.elf", folder=folder)
        objects = {source.name: (folder / path).read_bytes() for source, path in zip(sources, made, strict=True)}
    segments, symbols = _read_elf(elf)
    code = hashlib.sha256(b"".join(data for _, data in segments)).hexdigest()
    flags = " ".join(found.flags(core))
    provenance = {"compiler": found.title, "flags": flags, "kernels": kernels_digest(), "machine_code": code}
    return Firmware(core, segments, symbols, elf, provenance, compiler, objects)


@lru_cache(maxsize=4)
def get_compiler(name: str) -> Compiler:
    """Raises `UserError` for an unknown compiler, or one that is not installed, saying what brings it."""
    if name not in _COMPILERS:
        raise unknown_name("compiler", name, _COMPILERS, key="compiler")
    return _COMPILERS[name]()


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

    def target(core: Core) -> list[str]:
        return ["-target", "thumb-freestanding-eabi", f"-mcpu={core.zig}"]

    return Compiler(f"zig {version} ({clang})", [*zig, "cc"], target)


def _gcc() -> Compiler:
    program = "arm-none-eabi-gcc"
    if shutil.which(program) is None:
        raise UserError(
            f"needs {program}, which is not installed",
            key="compiler",
            value="gcc",
            hint="apt-get install --no-install-recommends gcc-arm-none-eabi, or take the compiler zig",
        )

    def target(core: Core) -> list[str]:
        return [f"-mcpu={core.gcc}", *GCC_FLAGS]

    return Compiler(_run([program, "--version"]).splitlines()[0], [program], target)


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
