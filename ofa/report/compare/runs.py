"""The runs of a comparison: read, and each with a name that no other has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa.report.gather import describe
from ofa.report.sources import Sources, read_sources
from search_spaces.common.errors import UserError


@dataclass(frozen=True)
class Run:
    """One of the runs. `label` is its name, with its folder where another one has that name too."""

    label: str
    found: Sources
    report: dict[str, Any]

    @property
    def weights(self) -> str | None:
        return None if self.found.supernet is None else str(self.found.supernet["weights_sha256"])

    def same_task(self, other: Run) -> bool:
        """Whether accuracies of the two can be held against each other at all: data and classes of one name."""
        mine, yours = self.report["data"], other.report["data"]
        return (
            mine is not None and yours is not None and all(mine[key] == yours[key] for key in ("name", "class_names"))
        )

    def split(self, name: str) -> str | None:
        """The hash of a split's images."""
        splits = (self.report["data"] or {}).get("splits", [])
        return next((entry["sha256"] for entry in splits if entry["split"] == name), None)


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Finished or not. Raises `UserError` for fewer than two, the same folder twice, and as `read_sources`."""
    if len(folders) < 2:
        raise UserError("needs two runs or more", key="--compare", hint="ofa report --compare RUN RUN")
    places = [Path(folder).resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            raise UserError("is named twice: a run is compared with others", file=folder, key="--compare")
    found = [read_sources(Path(folder)) for folder in folders]
    reports = [describe(one) for one in found]
    labels = _labels([report["name"] for report in reports], places)
    return [Run(*parts) for parts in zip(labels, found, reports, strict=True)]


def _labels(names: Sequence[str], places: Sequence[Path]) -> list[str]:
    """Names; those that several runs have with as much of the folder as tells them apart."""
    labels = list(names)
    for also in ([place.name for place in places], [str(place) for place in places]):
        labels = [f"{names[i]} ({also[i]})" if labels.count(label) > 1 else label for i, label in enumerate(labels)]
    return labels
