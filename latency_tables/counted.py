"""Devices that are not timed: their instructions are counted under emulation, or their compiler is asked. One line a
device, imported when asked for.

This module imports neither torch nor any emulator, so that config errors answer at once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from latency_tables.cortex_m.boards import get_board, list_boards
from search_spaces.common.registry import Registry

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.listed import ListedTable
    from search_spaces import SearchSpace


class Count(Protocol):
    """Makes the table of a space; see `cortex_m.table.count_table` and `cortex_m.board_count.count_board`."""

    def __call__(
        self, space: SearchSpace, *, path: Path, seed: int = 0, compiler: str = "zig", replace: bool = False
    ) -> ListedTable | BoardTable: ...


COUNTED: Registry[Count] = Registry("device", entry_points="ofa.devices", needs=("__call__",))


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


def count_on_board(
    name: str,
    space: SearchSpace,
    *,
    path: Path,
    seed: int = 0,
    compiler: str = "zig",
    memory_plan: str = "overwriting",
    num_checked: int = 50,
    replace: bool = False,
) -> BoardTable:
    """The table of a board, by its name or the path of its YAML file."""
    board = get_board(name, key="--device")  # before torch is imported
    from latency_tables.cortex_m.board_count import count_board

    return count_board(
        space,
        board,
        path=path,
        seed=seed,
        compiler=compiler,
        memory_plan=memory_plan,
        num_checked=num_checked,
        replace=replace,
    )


def is_board(device: str) -> bool:
    """Whether a device is a board that comes with this project, or the file of one."""
    return device in list_boards() or device.endswith((".yaml", ".yml"))


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
for _board in list_boards():
    COUNTED.register(_board)(partial(count_on_board, _board))
