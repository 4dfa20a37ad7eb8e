"""What a reader must know before believing a comparison, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from ofa.report.compare.costs import SharedCost, device_differences
from ofa.report.compare.runs import Run


def caveats(runs: Sequence[Run], shared: Sequence[SharedCost], budgets: Sequence[Mapping[str, Any]]) -> list[str]:
    return [*_of_data(runs), *_of_supernets(runs), *_of_devices(runs, shared), *_of_chance(runs, budgets)]


def _of_data(runs: Sequence[Run]) -> Iterator[str]:
    described = [run for run in runs if run.report["data"] is not None]
    names = _grouped(described, lambda run: str(run.report["data"]["name"]))
    if len(names) > 1:
        yield f"The runs are of different data ({_told(names)}): their accuracies say nothing about each other."
        return
    classes = _grouped(described, lambda run: f"{len(run.report['data']['class_names'])} classes")
    if len(classes) > 1:
        yield f"The tasks differ ({_told(classes)}): their accuracies say nothing about each other."
        return
    for split, what in (("test", "are tested"), ("selection", "chose networks")):
        hashes = _by_split(described, split)
        if len(hashes) > 1:
            yield (
                f"The runs {what} on different images (sha256 of the {split} split: {_told(hashes)}): part of any "
                "difference is that of the images."
            )
    if len(train := _by_split(described, "train")) > 1:
        yield f"The runs are trained on different images (sha256 of the train split: {_told(train)})."


def _of_supernets(runs: Sequence[Run]) -> Iterator[str]:
    for one, two in combinations(runs, 2):
        if one.weights is not None and one.weights == two.weights:
            yield f"{one.label} and {two.label} hold the same supernet, weight by weight: only what followed differs."
    for run in runs:
        if run.report["data"] is not None and run.report["data"]["imported"]:
            yield f"The supernet of {run.label} was imported: what its training cost is not known here."
        if run.report["missing"]:
            parts = ", ".join(item["part"] for item in run.report["missing"])
            commands = list(dict.fromkeys(item["command"] for item in run.report["missing"]))
            yield f"{run.label} is not finished: {parts} not there yet (made by: {'; '.join(commands)})."


def _of_devices(runs: Sequence[Run], shared: Sequence[SharedCost]) -> Iterator[str]:
    devices = [cost for cost in shared if cost.device is not None]
    if devices and all(len(cost.own) < 2 for cost in devices):
        yield (
            "No device is common to two runs: costs of devices are shown side by side, and only exact ones (MACs) are "
            "laid over each other."
        )
    elif not devices:
        yield "No run has a table of a device: only exact costs (MACs) can be compared."
    told: dict[tuple[str, str], None] = {}
    for one, two in combinations(devices, 2):
        for name in sorted(set(one.own.values()) & set(two.own.values())):
            told[name.partition("@")[2], "; ".join(device_differences(one.device or {}, two.device or {}))] = None
    for device, differences in told:
        yield f"The device {device} is not the same in all runs ({differences}): its charts stand side by side."


def _of_chance(runs: Sequence[Run], budgets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    pairs = [pair for row in budgets for pair in row["differences"]]
    unclear = sum(not pair["distinct"] for pair in pairs)
    if unclear:
        yield (
            f"{unclear} of {len(pairs)} differences in test accuracy are no more than chance would make on so few "
            "test images: their 95 % intervals contain 0."
        )
    if len(runs) > 1:
        yield (
            "Every run is one training. Intervals say what another draw of test images would change, not what "
            "another seed would."
        )


def _by_split(runs: Sequence[Run], split: str) -> dict[str, list[str]]:
    """Labels by the first digits of the hash of a split's images."""
    return _grouped([run for run in runs if run.split(split)], lambda run: str(run.split(split))[:12])


def _grouped(runs: Sequence[Run], of: Callable[[Run], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(of(run), []).append(run.label)
    return groups


def _told(groups: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{value}: {', '.join(labels)}" for value, labels in groups.items())
