"""How many bytes of flash a network's image has: code as it was compiled, laid out as the linker will.

Sources are compiled one by one and linked in one order, sections one after the other, each from a multiple of its
alignment on. So sizes are known before a network is linked, for every network that there is.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from latency_tables.cortex_m.compilers import SOURCES, Firmware, get_compiler
from latency_tables.cortex_m.cores import Core
from latency_tables.cortex_m.footprint import flash
from latency_tables.cortex_m.kernel_sources import kernel_sources
from latency_tables.cortex_m.program import Program

#: C files around a network; the first ones that are linked
FIRMWARE = Path(__file__).with_name("firmware")
AROUND = ("startup.c", "firmware.c", "net_run.c")
RUN = "run.c"

#: what the boot ROM of a board wants to find, by the board's name
BOOT = {"rp2350": "rp2350.c"}

_VECTORS = 64
_BOOT_BYTES = 20
_WEIGHTS_ALIGNMENT = 16
_TABLE_BYTES = 256
_NUMBER_OF_STEPS = 4


@dataclass(frozen=True)
class _Section:
    kind: str
    size: int
    alignment: int


def code_bytes(firmware: Firmware, kernels: Iterable[str]) -> int:
    """Bytes of flash for all that is the same in every network of these kernels: vector table, start-up, kernels."""
    return _laid_out(firmware, kernels, weights=0, net=0)


def network_flash(program: Program, firmware: Firmware, *, num_tables: int = 0, board: str | None = None) -> int:
    """Bytes of flash of the whole image of a network, as the linker reports it.

    `num_tables` of 256 bytes each turn pixels into what the network takes: one a channel. `board` is a name: some
    want more than vectors at the beginning.
    """
    constants = sum(
        _up(array.nbytes, _WEIGHTS_ALIGNMENT) for call in program.calls for array in call.constants().values()
    )
    net = flash(program) - constants + _NUMBER_OF_STEPS + _TABLE_BYTES * num_tables
    weights = max(constants, _WEIGHTS_ALIGNMENT)
    return _laid_out(firmware, {call.kernel for call in program.calls}, weights=weights, net=net, boot=board in BOOT)


def _laid_out(firmware: Firmware, kernels: Iterable[str], *, weights: int, net: int, boot: bool = False) -> int:
    """The end of what lies in flash, from its beginning: vectors, code, weights, all other constants."""
    around = _around(firmware.core, firmware.compiler)
    network = [_Section("rodata", net, 4)]
    behind = [_sections(firmware.objects[name]) for name in sorted({RUN, *kernel_sources(kernels)})]
    sections = [section for part in (*around, network, *behind) for section in part]
    place = _packed(sections, "text", _VECTORS + _BOOT_BYTES * boot)
    if weights:
        place = _up(place, _WEIGHTS_ALIGNMENT) + weights
    return _packed(sections, "rodata", place)


def _packed(sections: Iterable[_Section], kind: str, place: int) -> int:
    these = [section for section in sections if section.kind == kind]
    for section in these:
        place = _up(place, section.alignment) + section.size
    return place


def _up(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment


@lru_cache(maxsize=16)
def _around(core: Core, compiler: str) -> tuple[tuple[_Section, ...], ...]:
    found = get_compiler(compiler)
    with tempfile.TemporaryDirectory(prefix="ofa-firmware-") as name:
        folder = Path(name)
        made = [found.compile(core, FIRMWARE / source, folder=folder, include=[SOURCES]) for source in AROUND]
        return tuple(_sections((folder / each).read_bytes()) for each in made)


def _sections(elf: bytes) -> tuple[_Section, ...]:
    """Code and constants of an object, in order."""
    from elftools.elf.elffile import ELFFile  # a firmware was read with it

    found = []
    for section in ELFFile(io.BytesIO(elf)).iter_sections():
        kind = re.match(r"\.(text|rodata)(\.|$)", section.name)
        if kind and section["sh_flags"] & 2 and section["sh_size"]:
            found.append(_Section(kind[1], section["sh_size"], max(section["sh_addralign"], 1)))
        else:
            state = re.match(r"\.(data|bss)(\.|$)", section.name)
            assert not (state and section["sh_size"]), "kernels hold no state"
    return tuple(found)
