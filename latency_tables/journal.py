"""What has been measured so far, kept line by line, so that a killed measurement goes on where it was.

The samples belong to a device, not to a space: operators shared with another space need not be measured again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from latency_tables.fingerprint import DeviceFingerprint
from latency_tables.timing import Sample, Samples
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines
from search_spaces.common.settings import parse_settings

SCHEMA = 1


class Journal:
    """`samples[key]`: the finished samples of an item."""

    def __init__(self, path: Path, device: DeviceFingerprint) -> None:
        """Read `path`, or start it. Raises `UserError` if it is damaged or was begun on another device."""
        self.path = path
        self.samples: dict[str, Samples] = defaultdict(Samples)
        self.num_samples = self.num_disturbed = 0
        lines = read_lines(path, "measuring journal")
        if not lines:
            append_line(path, {"schema": SCHEMA, "device": device.model_dump()})
            return
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
        for number, line in enumerate(lines[1:], start=2):
            self._add(_sample(line, path, number))

    def record(self, sample: Sample) -> None:
        append_line(self.path, {"ms": sample.ms, "disturbed": sample.disturbed})
        self._add(sample)

    @property
    def share_disturbed(self) -> float:
        return self.num_disturbed / self.num_samples if self.num_samples else 0.0

    def counts(self) -> dict[str, int]:
        return {key: len(samples) for key, samples in self.samples.items()}

    def _add(self, sample: Sample) -> None:
        self.num_samples += 1
        self.num_disturbed += sample.disturbed
        for key, ms in sample.ms.items():
            self.samples[key].add(ms, disturbed=sample.disturbed)


def _sample(line: Any, path: Path, number: int) -> Sample:
    good = (
        isinstance(line, dict)
        and set(line) == {"ms", "disturbed"}
        and isinstance(line["ms"], dict)
        and isinstance(line["disturbed"], bool)
    )
    if not good or not all(isinstance(ms, float) and math.isfinite(ms) and ms >= 0 for ms in line["ms"].values()):
        raise UserError(
            f"line {number} is not a sample", file=path, hint="Delete the journal to measure from the start"
        )
    return Sample(line["ms"], line["disturbed"])
