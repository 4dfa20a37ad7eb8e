"""Devices that are not timed: their instructions are counted under emulation, or their compiler is asked. One line a
device, imported when asked for.

This module imports neither torch nor any emulator, so that config errors answer at once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from search_spaces.common.registry import Registry

if TYPE_CHECKING:
    from latency_tables.listed import ListedTable
    from search_spaces import SearchSpace


class Count(Protocol):
    """Makes the table of a space; see `cortex_m.table.count_table`."""

    def __call__(
        self, space: SearchSpace, *, path: Path, seed: int = 0, compiler: str = "zig", replace: bool = False
    ) -> ListedTable: ...


COUNTED: Registry[Count] = Registry("device")


def _cortex_m(
    core: str, space: SearchSpace, *, path: Path, seed: int = 0, compiler: str = "zig", replace: bool = False
) -> ListedTable:
    from latency_tables.cortex_m.table import count_table

    return count_table(space, core, path=path, seed=seed, compiler=compiler, replace=replace)


def _ethos_u(
    accelerator: str, space: SearchSpace, *, path: Path, seed: int = 0, compiler: str = "zig", replace: bool = False
) -> ListedTable:
    from latency_tables.ethos_u.table import measure_vela

    return measure_vela(space, accelerator, path=path, seed=seed, replace=replace)


for _accelerator in (
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
):
    COUNTED.register(_accelerator)(partial(_ethos_u, _accelerator))
for _core in ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"):
    COUNTED.register(_core)(partial(_cortex_m, _core))
