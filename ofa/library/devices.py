"""`ofa.measure`, `ofa.load_table`: what networks cost on a device."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from search_spaces import SearchSpace
from search_spaces.common.errors import unknown_name

if TYPE_CHECKING:
    from latency_tables.cortex_m.board_table import BoardTable
    from latency_tables.table import Table

#: what devices that are counted, and not timed, may be told
_COUNTING = ("compiler", "memory_plan", "num_checked")


def measure(
    space: SearchSpace,
    device: str = "onnxruntime",
    *,
    path: Path | str | None = None,
    seed: int = 0,
    replace: bool = False,
    **settings: Any,
) -> Table | BoardTable:
    """The table of a device: what every operator of `space` costs there. `table.cost(space)` searches with it.

    `device` is a runtime of this machine (`onnxruntime`, `torch` ...), whose latency in ms is measured, which takes
    a minute or more; or one that is counted (`cortex-m4`, `ethos-u55-128`, a board, one of a plug-in). `settings` are
    those of `latency_tables.settings.DeviceSettings` (`threads`, `rounds`, `time_budget_s` ...). With a `path` the
    table is written there, an interrupted measurement goes on, and a finished one is returned at once; `replace`
    overwrites a table of something else. Raises `UserError` for an unknown device or setting.
    """
    if path is None:
        with TemporaryDirectory() as folder:
            return _measure(space, device, Path(folder) / "table.json", seed, replace, settings)
    return _measure(space, device, Path(path), seed, replace, settings)


def load_table(path: Path | str) -> Table | BoardTable:
    """The table in a file, or the one that is shipped for a device of that name. Raises `UserError` for neither."""
    from latency_tables.shipped import find_table
    from latency_tables.table import load_any_table

    return load_any_table(find_table(path))


def _measure(
    space: SearchSpace, device: str, path: Path, seed: int, replace: bool, settings: dict[str, Any]
) -> Table | BoardTable:
    from latency_tables.counted import COUNTED
    from latency_tables.runtimes import RUNTIMES

    if device in COUNTED:
        for name in settings:
            if name not in _COUNTING:
                raise unknown_name("setting of a device that is not timed", name, _COUNTING, key=device)
        return COUNTED.get(device)(space, path=path, seed=seed, replace=replace, **settings)
    if device not in RUNTIMES:
        raise COUNTED.unknown(device, also=RUNTIMES, key="device")
    from latency_tables.measure import measure_table
    from latency_tables.settings import DeviceSettings
    from search_spaces.common.settings import parse_settings

    parsed = parse_settings(DeviceSettings, {"name": device, "runtime": device, **settings}, prefix=device)
    return measure_table(space, parsed, path=path, seed=seed, replace=replace)
