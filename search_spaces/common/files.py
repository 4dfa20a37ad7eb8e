"""Files are written whole or not at all, and nothing read is ever unpickled.

`write_*` go through a temporary file in the same directory, fsync and rename. Logs that grow (records, measurements)
are JSON lines: one `write` per line, fsynced, and a last line torn by a crash is cut off before the next append.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError

#: The start of a JSON line, perhaps followed by blocks that were never written: what a crash leaves behind.
_TORN = re.compile(rb"[\x20-\x7e]*\x00*")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace `path` by `data` atomically. Raises `UserError` when the disk is full or the folder not writable."""
    with atomic_file(path) as stream:
        stream.write(data)


@contextmanager
def atomic_file(path: Path | str) -> Iterator[BufferedRandom]:
    """A stream whose content takes the place of `path` when the block ends well, and vanishes otherwise.

    Raises `UserError` when the disk is full or the folder not writable.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror or error}", file=path, hint="The old file is untouched."
        ) from error
    finally:
        with suppress(OSError):  # gone after the rename; never there below a plain file
            temporary.unlink()


def write_text(path: Path | str, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: object) -> None:
    """Write JSON, indented; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


@contextmanager
def atomic_directory(path: Path | str) -> Iterator[Path]:
    """A temporary sibling folder that takes the place of `path` when the block ends well, and vanishes otherwise."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for part in (*temporary.rglob("*"), temporary):
            _sync(part)
        if path.exists():
            old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", file=path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path | str) -> None:
    """Delete the temporary files and folders that a killed writer left in `folder` (not below it)."""
    for path in Path(folder).glob(".*.tmp"):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for path in Path(folder).glob(".*.old"):
        shutil.rmtree(path, ignore_errors=True)


def read_json(path: Path | str, what: str) -> Any:
    """The JSON value in `path`; `what` names it in errors ("latency table")."""
    path = Path(path)
    a = "an" if what[0] in "aeiou" else "a"
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"no such {what}", file=path) from None
    except IsADirectoryError:
        raise UserError(f"is a folder, not {a} {what}", file=path) from None
    except OSError as error:
        raise UserError(f"this {what} cannot be read: {error.strerror or error}", file=path) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not {a} {what}: not valid JSON ({error})", file=path) from None


def append_line(path: Path | str, value: object) -> None:
    """Append one JSON line in a single write and fsync it. A last line torn by a crash is cut off; one that is no torn
    JSON makes a `UserError`, and the file stays as it is.
    """
    path = Path(path)
    line = json.dumps(value, allow_nan=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # several processes append to one file; closing unlocks it
            start = _cut_torn_line(descriptor, path)
            if os.write(descriptor, line) != len(line):
                os.ftruncate(descriptor, start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"cannot be appended to: {error.strerror or error}", file=path) from error


def read_lines(path: Path | str, what: str) -> list[Any]:
    """The JSON values of a lines file ([] if there is none). A torn last line is left out; any other bad line is an
    error.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"this {what} cannot be read: {error.strerror or error}", file=path) from error
    *complete, torn = data.split(b"\n")
    if not _TORN.fullmatch(torn):
        raise UserError(f"line {len(complete) + 1} of this {what} is not JSON", file=path)
    values = []
    for number, line in enumerate(complete, start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError):
            raise UserError(f"line {number} of this {what} is not JSON", file=path) from None
    return values


def digest(value: object) -> str:
    """A stable hash (64 hex digits) of a JSON-like value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def file_digest(path: Path | str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _cut_torn_line(descriptor: int, path: Path) -> int:
    """Cut off what follows the last newline (the tail of a write that a crash interrupted); the size left."""
    size = end = os.fstat(descriptor).st_size
    tail = b""
    while end > 0 and b"\n" not in tail:
        start = max(0, end - 65536)
        tail = os.pread(descriptor, end - start, start)
        end = start
    whole = end + tail.rfind(b"\n") + 1
    if whole < size:
        if not _TORN.fullmatch(tail[whole - end :]):
            raise UserError("its last line is not JSON, nor the start of it", file=path)
        os.ftruncate(descriptor, whole)
    return whole


def _sync(path: Path) -> None:
    """fsync a file or a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
