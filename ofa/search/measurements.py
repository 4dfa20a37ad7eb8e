"""Whole-network latencies of candidates, kept in `measurements.jsonl`: no network is measured twice on one device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, digest, read_lines

if TYPE_CHECKING:
    from latency_tables.settings import DeviceSettings
    from latency_tables.table import LatencyTable
    from search_spaces import Architecture, SearchSpace


@dataclass(frozen=True)
class Median:
    """Latency of a whole network on a device."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    count: int


#: Measures networks against each other, interleaved.
MeasureNetworks = Callable[[Sequence["Architecture"]], Sequence[Median]]


class MeasurementBook:
    """The measurements of one device in a file that other devices may share.

    `setup` is a digest of what makes medians comparable (device, runtime, sampling plan, space); lines of another setup
    are kept but not used. Where the exported file of a network turned out slower than its budget, that measurement
    (a line marked `exported`) takes the place of the earlier one.
    """

    def __init__(self, path: Path, *, device: str, setup: str, measure: MeasureNetworks) -> None:
        self.path, self.device, self._setup, self._measure = Path(path), device, setup, measure
        self._known: dict[str, Median] = {}
        self.corrections: dict[str, Median] = {}
        for number, line in enumerate(read_lines(self.path, "measurements file"), start=1):
            key, median = _parse(line, f"{self.path}: line {number}")
            if line["device"] == device and line["setup"] == setup:
                if line.get("exported") is True:
                    self.corrections[key] = self._known[key] = median
                elif key not in self._known:
                    self._known[key] = median

    def medians(self, architectures: Sequence[Architecture]) -> dict[str, Median]:
        """Medians by key; those not on file are measured in one interleaved set and appended."""
        missing = [a for a in dict.fromkeys(architectures) if a.key not in self._known]
        if missing:
            for architecture, median in zip(missing, self._measure(missing), strict=True):
                line = {"key": architecture.key, "device": self.device, **asdict(median), "setup": self._setup}
                append_line(self.path, line)
                self._known[architecture.key] = median
        return {architecture.key: self._known[architecture.key] for architecture in architectures}

    def correct(self, key: str, median: Median) -> None:
        """Enter the measurement of an exported file, which counts from now on."""
        append_line(
            self.path, {"key": key, "device": self.device, **asdict(median), "setup": self._setup, "exported": True}
        )
        self.corrections[key] = self._known[key] = median


def device_book(path: Path, space: SearchSpace, device: DeviceSettings, table: LatencyTable) -> MeasurementBook:
    """The book that measures on this machine, the way the table of the same device was measured."""

    def measure(architectures: Sequence[Architecture]) -> list[Median]:
        from latency_tables.measure import measure_architectures

        measured = measure_architectures(space, architectures, device)
        return [Median(m.median_ms, m.p10_ms, m.p90_ms, m.count) for m in measured]

    setup = digest([device.model_dump(mode="json"), table.device.model_dump(mode="json"), space.fingerprint])[:16]
    return MeasurementBook(path, device=device.name, setup=setup, measure=measure)


def _parse(line: Any, where: str) -> tuple[str, Median]:
    if not isinstance(line, Mapping):
        raise UserError("not a measurement", file=where, value=line)
    for name in ("key", "device", "setup"):
        if not isinstance(line.get(name), str):
            raise UserError("must be text", file=where, key=name, value=line.get(name))
    for name in ("median_ms", "p10_ms", "p90_ms", "count"):
        value = line.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise UserError("must be a positive number", file=where, key=name, value=value)
    return line["key"], Median(line["median_ms"], line["p10_ms"], line["p90_ms"], line["count"])
