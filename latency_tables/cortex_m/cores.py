"""The cores that kernels are compiled for."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces.common.errors import unknown_name


@dataclass(frozen=True)
class Core:
    """`zig` and `gcc` are the names for `-mcpu`, `unicorn` the model that runs the code, `board` the one of QEMU.

    The M33 is one with the DSP extension, which a vendor may leave out. The M55 runs the code of the M33: nothing uses
    its vector extension (Helium), low-overhead loops or conditional selects, which the emulator does not know.
    """

    name: str
    zig: str
    gcc: str
    unicorn: str
    dsp: bool
    """Whether two 16-bit products take one instruction."""
    board: str | None = None
    """A board with memory where the image is linked to."""


CORES = {
    core.name: core
    for core in (
        Core("cortex-m3", "cortex_m3", "cortex-m3", "UC_CPU_ARM_CORTEX_M3", dsp=False, board="mps2-an385"),
        Core("cortex-m4", "cortex_m4", "cortex-m4", "UC_CPU_ARM_CORTEX_M4", dsp=True, board="mps2-an386"),
        Core("cortex-m7", "cortex_m7", "cortex-m7", "UC_CPU_ARM_CORTEX_M7", dsp=True, board="mps2-an500"),
        Core("cortex-m33", "cortex_m33+dsp", "cortex-m33", "UC_CPU_ARM_CORTEX_M33", dsp=True),
        Core("cortex-m55", "cortex_m33+dsp", "cortex-m33", "UC_CPU_ARM_CORTEX_M33", dsp=True),
    )
}


def get_core(name: str, *, key: str | None = None) -> Core:
    """Raises `UserError` for an unknown name."""
    if name not in CORES:
        raise unknown_name("core", name, CORES, key=key)
    return CORES[name]
