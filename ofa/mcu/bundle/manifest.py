"""`bundle.json`: which network this is, for which board, what it is said to need, and a hash of every file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from latency_tables.cortex_m.boards import Board
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest, read_json
from search_spaces.common.settings import Settings, parse_settings

SCHEMA = 1
FILE = "bundle.json"

#: what builds leave in a bundle
BUILT = ("build", "weights.inc", "found_outputs.bin")


class Port(Settings):
    """Where an image goes in or scores come out: real value = scale * (q - zero)."""

    offset: int = Field(ge=0)
    """In the arena."""
    shape: tuple[int, int, int]
    scale: float
    zero: int

    @property
    def num_bytes(self) -> int:
        height, width, channels = self.shape
        return height * width * channels


class Claims(Settings):
    """What was predicted. By compiler what depends on its code, under the compiler's name and version."""

    arena: int = Field(ge=0)
    """Bytes of SRAM for all maps, the network's `peak_memory`."""
    flash: dict[str, int] = Field(default_factory=dict)
    """Bytes of the whole image."""
    instructions: dict[str, int] = Field(default_factory=dict)
    """Of one inference, by compiler and core."""
    peak_layers: str = ""


class Golden(Settings):
    num: int = Field(ge=1)
    inputs: str = "golden/inputs.bin"
    outputs: str = "golden/outputs.bin"


class Manifest(Settings):
    schema_: int = Field(default=SCHEMA, alias="schema")
    name: str
    board: Board
    input: Port
    output: Port
    claims: Claims
    golden: Golden
    macs: int
    sources: tuple[str, ...]
    """C files of the network's image, in the order they are linked."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """Architecture, preprocessing, classes, accuracy: whatever the maker of the bundle says of it."""
    files: dict[str, str]
    """SHA-256 of every file but this one."""


def read_manifest(folder: Path) -> Manifest:
    """Raises `UserError` for a folder that is none, or whose description is wrong."""
    path = folder / FILE
    if not path.exists():
        hint = "Make one with: ofa export RUN ARCH --format mcu"
        raise UserError("not a microcontroller bundle: no bundle.json", file=folder, hint=hint)
    data = read_json(path, "bundle description")
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise UserError(f"not a bundle of schema {SCHEMA} (found {found!r})", file=path)
    return parse_settings(Manifest, data, file=path)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raises `UserError` for a file that is missing, changed or not of the bundle."""
    for name, sha256 in manifest.files.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError("names a file outside of the bundle", file=folder / FILE, key="files", value=name)
        if not path.is_file():
            raise UserError("this file of the bundle is missing", file=path, hint="Export the network again")
        if file_digest(path) != sha256:
            hint = "Export the network again: what a changed bundle does was never checked"
            raise UserError("this file is not what the bundle was made with", file=path, hint=hint)
    unknown = {name for name in list_files(folder) if name not in manifest.files}
    if unknown:
        raise UserError("this file is not of the bundle", file=folder / min(unknown), hint="Remove it")


def list_files(folder: Path) -> list[str]:
    """Relative names of all files but the description and what builds leave, sorted."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] not in (FILE, *BUILT))
