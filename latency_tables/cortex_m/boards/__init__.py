"""Boards with a Cortex-M core: a YAML file each, here or of the user."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import Field, field_validator

from latency_tables.cortex_m.cores import CORES, Core, get_core
from search_spaces.common.errors import UserError, in_file, unknown_name
from search_spaces.common.settings import Settings, load_yaml, parse_settings
from search_spaces.common.units import parse_quantity

_FOLDER = Path(__file__).parent


class Memory(Settings):
    """`size` bytes from the address `origin` on. In a file the size may have a unit: `320KiB`."""

    origin: int = Field(ge=0, lt=2**32)
    size: int = Field(ge=4096, lt=2**32)

    @field_validator("size", mode="before")
    @classmethod
    def _bytes(cls, value: object) -> object:
        return int(parse_quantity(value, "flash").value) if isinstance(value, str) else value

    @property
    def end(self) -> int:
        return self.origin + self.size


class Board(Settings):
    """A microcontroller board. `sram` is the largest run of memory that one address range covers."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str
    core: str
    clock_mhz: float = Field(gt=0)
    sram: Memory
    flash: Memory
    stack: int = Field(default=2048, ge=512)
    """Bytes of SRAM that are kept for the stack."""
    source: str
    """Where the figures come from."""

    @field_validator("core")
    @classmethod
    def _known_core(cls, value: str) -> str:
        if value not in CORES:
            raise unknown_name("core", value, CORES)
        return value

    @property
    def processor(self) -> Core:
        return get_core(self.core)


def list_boards() -> list[str]:
    """Names of the boards that come with this project."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


@cache
def get_board(name: str, *, key: str | None = None) -> Board:
    """A board by its name, or by its YAML file's path. Raises `UserError` for an unknown or wrong one."""
    if name in list_boards():
        return load_board(_FOLDER / f"{name}.yaml")
    if name.endswith((".yaml", ".yml")):
        return load_board(Path(name))
    raise unknown_name("board", name, list_boards(), key=key)


def load_board(path: Path) -> Board:
    """Raises `UserError` with file, key and value of what is wrong."""
    data = load_yaml(path, what="board file", holds="keys")
    with in_file(path):
        board = parse_settings(Board, data)
        if board.sram.origin < board.flash.end and board.flash.origin < board.sram.end:
            raise UserError("SRAM and flash are at the same addresses", key="sram.origin")
        return board
