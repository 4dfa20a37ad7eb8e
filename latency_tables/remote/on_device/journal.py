"""Samples as they come, one line each: a program that is killed loses the one it was taking."""

from __future__ import annotations

import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

from .device import load_average
from .problem import Problem
from .pulse import usual_pulse

#: readings of the sentinels before anything is said about the speed of the device
ENOUGH_READINGS = 3


class Journal:
    """The samples so far, one line each, synced to the disk as they come."""

    def __init__(self, path: Path, head: dict[str, Any], max_drift: float) -> None:
        self.path, self.max_drift = path, max_drift
        self.lines: list[dict[str, Any]] = []
        self.readings: list[dict[str, float]] = []
        self._after: list[int] = []  # the reading before each of the lines
        self.counts: dict[str, int] = {}
        self.usual_pulse_ms: float | None = None  # by all samples before the last reading
        lines = self._read()
        if lines:
            self.head = lines[0]
            for key in ("schema", "manifest_sha256", "device"):
                if self.head.get(key) != head.get(key):
                    begun = {"device": "on another device", "manifest_sha256": "with another bundle"}
                    what = f"{begun.get(key, 'by another')} ({self.head.get(key)}, here {head[key]})"
                    raise Problem(f"{path}: was begun {what}. Delete it to start anew, or give another -o")
            for line in lines[1:]:
                self._add(line)
        else:
            self.head = head
            self._append(head)

    def record(self, ms: dict[str, float], disturbed: bool, pulse_ms: float | None = None) -> None:
        line = {"ms": ms, "disturbed": disturbed, "pulse_ms": pulse_ms}
        self._append(line)
        self._add(line)

    def read_speed(self, sentinels_ms: dict[str, float]) -> None:
        """Models that are timed again and again tell how fast the device is just then."""
        self._append({"reading": sentinels_ms})
        self._add({"reading": sentinels_ms})

    def judged(self) -> list[tuple[dict[str, float], bool]]:
        """(milliseconds at the usual speed, disturbed) of every sample; so they are beside a reading or a pulse that is
        off, too.
        """
        speeds = self._speeds() if len(self.readings) >= ENOUGH_READINGS else [1.0] * len(self.readings)
        off = {i for i, speed in enumerate(speeds) if abs(speed - 1) > self.max_drift}
        off |= {i - 1 for i in off}
        smooth = [statistics.median(speeds[max(0, i - 1) : i + 2]) for i in range(len(speeds))]
        pace = [(now + after) / 2 for now, after in zip(smooth, smooth[1:] + smooth[-1:])] + [1.0]  # -1: no reading
        times = [{key: ms / pace[i] for key, ms in line["ms"].items()} for line, i in zip(self.lines, self._after)]
        return [
            (ms, line["disturbed"] or i in off or self._off_pulse(line))
            for ms, line, i in zip(times, self.lines, self._after)
        ]

    def samples(self) -> dict[str, dict[str, list[float]]]:
        found: dict[str, dict[str, list[float]]] = {}
        for sample, disturbed in self.judged():
            for key, ms in sample.items():
                found.setdefault(key, {"ms": [], "disturbed_ms": []})["disturbed_ms" if disturbed else "ms"].append(ms)
        return found

    def conditions(self) -> dict[str, Any]:
        kept = [abs(speed - 1) for speed in self._speeds() if abs(speed - 1) <= self.max_drift]
        judged = [disturbed for _, disturbed in self.judged()]
        found = {"num_samples": len(judged), "num_disturbed": sum(judged), "drift": max(kept, default=0.0)}
        return {"load_start": self.head.get("load_start"), "load_end": load_average(), **found}

    def _speeds(self) -> list[float]:
        """By reading: how long the sentinels took, 1.0 for the median of all readings."""
        keys = sorted({key for reading in self.readings for key in reading})
        usual = {key: statistics.median(reading[key] for reading in self.readings if key in reading) for key in keys}
        logs = [[math.log(ms / usual[key]) for key, ms in reading.items()] for reading in self.readings]
        return [math.exp(sum(part) / len(part)) if part else 1.0 for part in logs]

    def _off_pulse(self, line: dict[str, Any]) -> bool:
        pulse_ms, usual_ms = line.get("pulse_ms"), self.usual_pulse_ms
        return pulse_ms is not None and usual_ms is not None and abs(pulse_ms / usual_ms - 1) > self.max_drift

    def _add(self, line: dict[str, Any]) -> None:
        if "reading" in line:
            self.readings.append(line["reading"])
            felt = [pulse_ms for line in self.lines if (pulse_ms := line.get("pulse_ms")) is not None]
            self.usual_pulse_ms = usual_pulse(felt)
            return
        self.lines.append(line)
        self._after.append(len(self.readings) - 1)
        for key in line["ms"]:
            self.counts[key] = self.counts.get(key, 0) + 1

    def _read(self) -> list[dict[str, Any]]:
        """All lines; the last one, if a crash tore it, is cut off the file."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with open(self.path, "r+b") as stream:
                stream.truncate(whole)
        lines = []
        for number, text in enumerate(content[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            wanted = ({"device"},) if number == 1 else ({"ms", "disturbed"}, {"reading"})
            if not isinstance(line, dict) or not any(keys <= set(line) for keys in wanted):
                raise Problem(f"{self.path}: line {number} is damaged. Delete the file to measure from the start")
            lines.append(line)
        return lines

    def _append(self, value: dict[str, Any]) -> None:
        line = json.dumps(value, allow_nan=False).encode() + b"\n"
        start = self.path.stat().st_size if self.path.exists() else 0
        try:
            with open(self.path, "ab", buffering=0) as stream:
                if stream.write(line) != len(line):
                    raise OSError("no space left on the device")
                os.fsync(stream.fileno())
        except OSError as error:
            if self.path.exists():
                os.truncate(str(self.path), start)
            raise Problem(f"{self.path}: cannot be appended to: {error}. What was measured before is kept") from None
