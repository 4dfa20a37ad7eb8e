"""What has been counted so far, kept line by line, so that a killed count goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines

SCHEMA = 1


class CountJournal:
    """`operators` and `networks`: instructions by key; `calls`: of single kernel calls."""

    def __init__(self, path: Path, provenance: dict[str, str]) -> None:
        """Read `path`, or start it. Raises `UserError` if it is damaged or was begun with other kernels."""
        self.path = path
        self.operators: dict[str, int] = {}
        self.networks: dict[str, int] = {}
        self.calls: dict[str, int] = {}
        lines = read_lines(path, "counting journal")
        if not lines:
            append_line(path, {"schema": SCHEMA, "provenance": provenance})
            return
        head, hint = lines[0], "Delete it to count from the start"
        if not isinstance(head, dict) or set(head) != {"schema", "provenance"} or head["schema"] != SCHEMA:
            raise UserError("not a counting journal", file=path, hint=hint)
        if head["provenance"] != provenance:
            raise UserError("this count was begun with another core, compiler or other kernels", file=path, hint=hint)
        for number, line in enumerate(lines[1:], start=2):
            if not _sound(line):
                raise UserError(f"line {number} is not a count", file=path, hint=hint)
            self._add(line)

    def record(self, kind: str, key: str, instructions: int, calls: dict[str, int]) -> None:
        """`kind` is "operators" or "networks"."""
        line = {"kind": kind, "key": key, "instructions": instructions, "calls": calls}
        append_line(self.path, line)
        self._add(line)

    def _add(self, line: Any) -> None:
        into = self.operators if line["kind"] == "operators" else self.networks
        into[line["key"]] = line["instructions"]
        self.calls.update(line["calls"])


def _sound(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and set(line) == {"kind", "key", "instructions", "calls"}
        and line["kind"] in ("operators", "networks")
        and isinstance(line["key"], str)
        and isinstance(line["calls"], dict)
        and all(type(count) is int and count > 0 for count in (line["instructions"], *line["calls"].values()))
    )
