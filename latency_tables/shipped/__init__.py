"""The tables that come with the package: one JSON file a device, found by the device's name.

A published table is added by importing the files (`ofa import table`) into this folder; it says its source and licence.
A measured one says the machine and runtime it is of, and its own error. Instruction counts, which anybody can make
again to the last digit, come from `ofa measure --device cortex-m4`.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from latency_tables.counted import is_board
from search_spaces.common.errors import UserError
from search_spaces.common.registry import Registry

#: files by the names of their devices; plug-ins add theirs
TABLES: Registry[os.PathLike[str]] = Registry("latency table", entry_points="ofa.tables", needs=("__fspath__",))
for _path in Path(__file__).parent.glob("*.json"):
    TABLES.register(_path.stem)(_path)


def shipped_devices() -> list[str]:
    """The names of the devices whose tables are shipped, by this project or by plug-ins."""
    return sorted(TABLES.names())


def find_table(text: Path | str, *, key: str | None = None) -> Path:
    """The file that `text` means: a path that exists, else the table of a shipped device.

    Raises `UserError`, which lists the shipped devices, if it is neither.
    """
    path, devices = Path(text), shipped_devices()
    if path.exists() and path.suffix not in (".yaml", ".yml"):
        return path
    if str(text) in TABLES:
        return Path(TABLES.get(str(text), key=key))
    if is_board(str(text)):
        hint = f"Make it: ofa measure --space SPACE --device {text} -o {path.stem}.json"
        if own := [device for device in devices if device.startswith(f"{path.stem}_")]:
            hint += f". Shipped for one space: {', '.join(own)}"
        raise UserError("this board has no table yet", file=text, key=key, hint=hint)
    near = difflib.get_close_matches(path.stem, devices, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UserError("no such latency table", file=path, key=key, hint=f"{hint}Shipped devices: {', '.join(devices)}")
