"""What has been measured so far, kept line by line, so that a killed measurement goes on where it was.

The samples belong to a device, not to a space: operators shared with another space need not be measured again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_tables.fingerprint import DeviceFingerprint
from latency_tables.samples import Ledger, Sample
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, file_digest, read_lines
from search_spaces.common.settings import parse_settings

SCHEMA = 3


class Journal(Ledger):
    """A ledger in a file. Its lines after the first are samples (`ms`), beginnings of rounds (`round`), verdicts on the
    samples just before (`retract`), and where samples of another journal begin (`merged`).
    """

    def __init__(self, path: Path, device: DeviceFingerprint, *, max_drift: float = math.inf) -> None:
        """Read `path`, or start it. Raises `UserError` if it is damaged or was begun on another device."""
        super().__init__(max_drift=max_drift, at_usual_speed=usual_speed_matters(device))
        self.path = path
        self._merged: set[str] = set()
        lines = _lines(path, device)
        if not lines:
            append_line(path, {"schema": SCHEMA, "device": device.model_dump()})
        for number, line in enumerate(lines[1:], start=2):
            self._read(line, number, path)

    def record(self, sample: Sample) -> None:
        append_line(self.path, {"ms": sample.ms, "disturbed": sample.disturbed, "pulse_ms": sample.pulse_ms})
        super().record(sample)

    def begin_round(self, sentinels_ms: Mapping[str, float]) -> None:
        append_line(self.path, {"round": dict(sentinels_ms)})
        super().begin_round(sentinels_ms)

    def retract(self, num: int) -> None:
        append_line(self.path, {"retract": num})
        super().retract(num)

    def merge(self, other: Path, device: DeviceFingerprint) -> int:
        """Take over the samples of another journal of the same device, once; how many there were.

        Raises `UserError` if it is damaged, missing, or of another device; this journal is as before then.
        """
        if not other.exists():
            raise UserError("no such measuring journal", file=other)
        if (sha256 := file_digest(other)) in self._merged:
            return 0
        found = Journal(other, device)  # checks every line
        append_line(self.path, {"merged": sha256})
        self._merged.add(sha256)
        for line in _lines(other, device)[1:]:
            if "merged" not in line:
                append_line(self.path, line)
                self._read(line, 0, other)
        return found.num_samples

    def _read(self, line: Any, number: int, path: Path) -> None:
        match line:
            case {"ms": dict() as ms, "disturbed": bool() as disturbed, "pulse_ms": None | float() as pulse_ms} if (
                len(line) == 3 and _are_times(ms) and (pulse_ms is None or _are_times({"pulse": pulse_ms}))
            ):
                super().record(Sample(ms, disturbed, pulse_ms))
            case {"round": dict() as ms} if len(line) == 1 and _are_times(ms):
                super().begin_round(ms)
            case {"retract": int() as num} if len(line) == 1 and 0 <= num <= self.num_samples:
                super().retract(num)
            case {"merged": str() as sha256} if len(line) == 1:
                self._merged.add(sha256)
            case _:
                raise UserError(
                    f"line {number} is not a sample", file=path, hint="Delete the journal to measure from the start"
                )


def usual_speed_matters(device: DeviceFingerprint) -> bool:
    """Beside busy processes the machine's restlessness is what is measured."""
    return device.contention == 0


def _lines(path: Path, device: DeviceFingerprint) -> list[Any]:
    """The lines of a journal that was begun on `device`; none if there is no such file."""
    lines = read_lines(path, "measuring journal")
    if not lines:
        return []
    head = lines[0]
    if not isinstance(head, dict) or set(head) != {"schema", "device"} or head["schema"] != SCHEMA:
        raise UserError("not a measuring journal", file=path, hint="Delete it to measure from the start")
    begun_on = parse_settings(DeviceFingerprint, head["device"], file=path, prefix="device")
    if begun_on != device:
        raise UserError(
            f"this measurement was begun on another device: {'; '.join(device.differences(begun_on))}",
            file=path,
            hint="Go on there, or delete the journal to start here",
        )
    return lines


def _are_times(ms: Mapping[str, Any]) -> bool:
    return all(isinstance(value, float) and math.isfinite(value) and value > 0 for value in ms.values())
