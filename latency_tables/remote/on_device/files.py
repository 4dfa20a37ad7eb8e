"""The files of a measurement: the bundle it is of, the results it ends with."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from pathlib import Path
from typing import Any

from .problem import Problem

#: of manifest.json and results.json
SCHEMA = 1


class Bundle:
    """The folder this file lies in, or the zip file it lies in, or another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            try:
                self._zip: zipfile.ZipFile | None = zipfile.ZipFile(str(path))
            except zipfile.BadZipFile as error:
                raise Problem(f"{path}: not a bundle: {error}. Copy it to this device again") from None
        else:
            self._zip = None
        content = self.read("manifest.json")
        self.sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.manifest: dict[str, Any] = json.loads(content)
            self.items: dict[str, dict[str, Any]] = {item["key"]: item for item in self.manifest["items"]}
        except (ValueError, TypeError, KeyError):
            raise Problem(f"{path}: manifest.json is damaged. Copy the bundle to this device again") from None
        if self.manifest.get("schema") != SCHEMA:
            raise Problem(f"{path}: manifest.json: this runner knows schema {SCHEMA} only")

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes() if self._zip is None else self._zip.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise Problem(f"{self.path}: {name} cannot be read: {error}. Copy the bundle here again, whole") from None

    def artifact(self, key: str) -> bytes:
        item = self.items[key]
        content = self.read(item["file"])
        if hashlib.sha256(content).hexdigest() != item["sha256"]:
            raise Problem(f"{self.path}: {item['file']} is not what the manifest says. Copy the bundle here again")
        return content


def write_results(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(value, stream, indent=1, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(str(temporary), str(path))
    except OSError as error:
        raise Problem(f"{path}: cannot be written: {error}. Run again: no sample is lost") from None
    finally:
        if temporary.exists():
            temporary.unlink()
