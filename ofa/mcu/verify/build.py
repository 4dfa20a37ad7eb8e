"""A bundle's sources compiled: the image for a core, and the program for this machine."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from latency_tables.cortex_m.boards import Board
from latency_tables.cortex_m.compilers import get_compiler
from latency_tables.cortex_m.cores import Core
from ofa.mcu.bundle.linker_script import linker_script
from ofa.mcu.bundle.manifest import Manifest
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_text

#: sections of an image that hold variables
_VARIABLES = (".arena", ".data", ".bss")


@dataclass(frozen=True)
class Built:
    """A linked image. `segments` are (address, bytes) of what lies in flash."""

    elf: bytes
    compiler: str

    @cached_property
    def _file(self) -> Any:
        from elftools.elf.elffile import ELFFile

        return ELFFile(io.BytesIO(self.elf))

    @cached_property
    def segments(self) -> tuple[tuple[int, bytes], ...]:
        parts = (part for part in self._file.iter_segments() if part["p_type"] == "PT_LOAD" and part["p_filesz"])
        return tuple((int(part["p_paddr"]), part.data()) for part in parts)

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses of this project's functions and variables, without the Thumb bit."""
        return {name: address for name, (address, _) in self._named.items()}

    @cached_property
    def _named(self) -> dict[str, tuple[int, int]]:
        found = {}
        for symbol in self._file.get_section_by_name(".symtab").iter_symbols():
            if symbol.name.startswith("ofa_"):
                thumb = symbol["st_info"]["type"] == "STT_FUNC"
                found[symbol.name] = (int(symbol["st_value"]) & (~1 if thumb else ~0), int(symbol["st_size"]))
        return found

    @property
    def arena_bytes(self) -> int:
        return self._named["ofa_net_arena"][1]

    @property
    def static_bytes(self) -> int:
        """SRAM of all variables, the arena among them, the gaps between them too; the stack is besides."""
        sections = [s for s in self._file.iter_sections() if s.name in _VARIABLES and s["sh_size"]]
        start = min(section["sh_addr"] for section in sections)
        return int(max(section["sh_addr"] + section["sh_size"] for section in sections) - start)

    def flash_bytes(self, board: Board) -> int:
        """From the beginning of flash to the end of what is loaded."""
        return max(address + len(data) for address, data in self.segments) - board.flash.origin

    def function_at(self, address: int) -> str:
        """`name+0x12` of the function that an address is in."""
        below = [(start, name) for name, (start, _) in self._named.items() if start <= address]
        if not below:
            return f"{address:#x}"
        start, name = max(below)
        return f"{name}+{address - start:#x}"


def build_image(
    folder: Path,
    manifest: Manifest,
    board: Board,
    *,
    compiler: str,
    main: str = "firmware.c",
    define: Sequence[str] = (),
) -> Built:
    """Compile and link as the bundle's Makefile does, with `main` in the place of firmware/firmware.c.

    Raises `UserError` for a compiler that is not installed, or that refuses: the linker does, where a board is too
    small.
    """
    found, core, folder = get_compiler(compiler), board.processor, folder.resolve()
    headers = tuple((path.name, path.read_text()) for path in sorted((folder / "kernels").glob("*.h")))
    with tempfile.TemporaryDirectory(prefix="ofa-bundle-") as name:
        made = Path(name)
        objects = []
        for source in manifest.sources:
            path = folder / (f"firmware/{main}" if source == "firmware/firmware.c" else source)
            if '#include "net.h"' in (text := path.read_text()):
                include = [folder, folder / "kernels"]
                objects.append(found.compile(core, path, folder=made, include=include, define=define))
            else:
                objects.append(f"{path.stem}.o")
                (made / objects[-1]).write_bytes(_compiled(compiler, core, path.name, text, headers))
        write_text(made / "board.ld", linker_script(board))
        elf = found.link(core, objects, script=made / "board.ld", entry="ofa_reset", output="net.elf", folder=made)
    return Built(elf, found.title)


@lru_cache(maxsize=128)
def _compiled(compiler: str, core: Core, name: str, text: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The object of a source that knows nothing of the network: the same in many bundles."""
    with tempfile.TemporaryDirectory(prefix="ofa-object-") as place:
        folder = Path(place)
        for file, content in ((name, text), *headers):
            write_text(folder / file, content)
        made = get_compiler(compiler).compile(core, folder / name, folder=folder, include=[folder])
        return (folder / made).read_bytes()


def build_host(folder: Path, manifest: Manifest, out: Path, *, flags: Sequence[str] = ()) -> Path | None:
    """`main.c` and the network for this machine, at `out`; None where there is no compiler for it."""
    compiler = host_compiler()
    if compiler is None:
        return None
    left_out = ("startup.c", "firmware.c", "rp2350.c")
    sources = ["main.c", *(source for source in manifest.sources if Path(source).name not in left_out)]
    command = [*compiler, "-std=c11", "-O2", *flags, "-I.", "-Ikernels", *sources, "-o", str(out.resolve())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        line = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
        raise UserError(f"the bundle does not compile for this machine: {line}", file=folder)
    return out


def host_compiler() -> list[str] | None:
    """The command of a C compiler for this machine."""
    name = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if name is not None:
        return [name]
    return None if find_spec("ziglang") is None else [sys.executable, "-m", "ziglang", "cc"]
