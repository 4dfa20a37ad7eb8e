"""`architecture.json`: all that a weights file does not say. Which network it is, what goes in, what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa.export.forms.base import BATCH, INPUT, OUTPUT
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, write_json

SCHEMA = 1
FILE = "architecture.json"


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the input: resize to `resolution`, scale pixels to 0..1, subtract `mean`, divide by `std`."""

    resolution: int
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class ArchitectureFile:
    space: SearchSpace
    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def write_architecture_file(path: Path, described: ArchitectureFile) -> None:
    preprocessing = described.preprocessing
    side = preprocessing.resolution
    write_json(
        path,
        {
            "schema": SCHEMA,
            "space": described.space.description,
            "fingerprint": described.space.fingerprint,
            "key": described.architecture.key,
            "architecture": described.architecture.to_json(),
            "input": {"name": INPUT, "dtype": "float32", "shape": [BATCH, preprocessing.in_channels, side, side]},
            "output": {"name": OUTPUT, "dtype": "float32", "shape": [BATCH, described.space.num_classes]},
            "preprocessing": {
                "resolution": side,
                "in_channels": preprocessing.in_channels,
                "pixels": "scaled to 0..1, then (pixels - mean) / std for each channel",
                "resize": "antialiased bilinear",
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            },
            "class_names": list(described.class_names),
        },
    )


def read_architecture_file(path: Path) -> ArchitectureFile:
    """Raises `UserError` for a file that is missing, of another schema, or whose architecture is not of its space."""
    data = read_json(path, "architecture file")
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise UserError(
            f"not an architecture file of schema {SCHEMA} (found {found!r})",
            file=path,
            hint="Write it with `ofa export`",
        )
    try:
        preprocessing: dict[str, Any] = data["preprocessing"]
        described = ArchitectureFile(
            space=SearchSpace.from_description(data["space"], file=path),
            architecture=Architecture.from_json(data["architecture"], file=path),
            preprocessing=Preprocessing(
                resolution=int(preprocessing["resolution"]),
                in_channels=int(preprocessing["in_channels"]),
                mean=tuple(map(float, preprocessing["mean"])),
                std=tuple(map(float, preprocessing["std"])),
            ),
            class_names=tuple(map(str, data["class_names"])),
        )
    except UserError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"an entry is missing or of the wrong type: {error}", file=path, hint="Write it with `ofa export`"
        ) from None
    described.space.encode([described.architecture], file=path)
    return described


def check_replaceable(folder: Path, *, key: str) -> None:
    """An export replaces its folder whole. Raises `UserError` for one that holds anything but an export."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).exists():
        raise UserError("holds other files than an export, and would be replaced", file=folder, key=key)
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file, not a folder", file=folder, key=key)
