"""Wall time of evaluating nested records together and one by one, in turn, group by group, in one process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.peer.clock import timed
from predictors.sampling import record_groups
from search_spaces import Architecture, get_space
from search_spaces.supernet import Supernet, build_supernet
from trainers.data import ImageData, load_data
from trainers.evaluation.evaluate import Evaluation, evaluate_architecture
from trainers.evaluation.together import cost_of_sharing, evaluate_together
from trainers.settings.data import DataSettings, SplitSettings

_BATCH_SIZE, _CLASSES = 256, 10


@dataclass(frozen=True)
class Setting:
    space: str
    num: int
    images: int
    threads: int
    synthetic: bool

    def facts(self) -> dict[str, Any]:
        return asdict(self)


def measure(setting: Setting, data: Path | None, *, known: Collection[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(number, measurement) of every group that is not `known`; results that differ between the ways are an error."""
    space = get_space({"name": setting.space}, num_classes=_CLASSES)
    supernet, images = _supernet(setting.space), _images(setting, data)
    evaluate_architecture(supernet, space.decode(space.smallest())[0], images, batch_size=_BATCH_SIZE)  # warms up
    for number, rows in enumerate(record_groups(space, setting.num, seed=0, sampling="nested")):
        if str(number) in known:
            continue
        group = space.decode(rows)

        def together(group: list[Architecture] = group) -> list[Evaluation]:
            return evaluate_together(supernet, group, images, batch_size=_BATCH_SIZE)

        def alone(group: list[Architecture] = group) -> list[Evaluation]:
            return [evaluate_architecture(supernet, one, images, batch_size=_BATCH_SIZE) for one in group]

        ways = {"together": together, "alone": alone}
        found: dict[str, list[Evaluation]] = {}
        entry: dict[str, Any] = {}
        for way in sorted(ways, reverse=number % 2 == 0):
            _forget_peak()
            seconds, found[way] = timed(ways[way])
            entry |= {f"{way}_seconds": seconds, f"{way}_peak_rss_mib": _peak_rss_mib()}
        assert found["together"] == found["alone"], f"group {number}: results differ"
        networks = [space.network(architecture) for architecture in group]
        macs = sum(float(operator.macs()) for network in networks for _, operator in network)
        accuracies = [evaluation.accuracy for evaluation in found["alone"]]
        yield (
            str(number),
            {**entry, "macs": macs, "share_of_macs": cost_of_sharing(networks), "accuracies": accuracies},
        )


def summary(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    together, alone = (sum(entry[f"{way}_seconds"] for entry in groups.values()) for way in ("together", "alone"))
    macs = sum(entry["macs"] for entry in groups.values())
    return {
        "groups": len(groups),
        "records": sum(len(entry["accuracies"]) for entry in groups.values()),
        "together_seconds": round(together, 2),
        "alone_seconds": round(alone, 2),
        "ratio": round(together / alone, 3),
        "ratio_of_macs": round(sum(e["macs"] * e["share_of_macs"] for e in groups.values()) / macs, 3),
        "together_peak_rss_mib": max((entry["together_peak_rss_mib"] or 0 for entry in groups.values()), default=0),
        "alone_peak_rss_mib": max((entry["alone_peak_rss_mib"] or 0 for entry in groups.values()), default=0),
        "distinct_accuracies": len({accuracy for entry in groups.values() for accuracy in entry["accuracies"]}),
    }


def _supernet(name: str) -> Supernet:
    """Weights drawn with a seed, every norm's scale and shift included: accuracies all differ, though none is good."""
    supernet = build_supernet(get_space({"name": name}, num_classes=_CLASSES), seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return supernet


def _images(setting: Setting, data: Path | None) -> ImageData:
    if data is None:
        split = SplitSettings(calibration=setting.images, selection=setting.images, test=setting.images)
        made = {"num_classes": _CLASSES, "num_images": 4 * setting.images, "image_size": 32, "channels": 3}
        return load_data(DataSettings.model_validate({"name": "synthetic", "split": split, **made}), seed=0)
    split = SplitSettings(calibration=setting.images, selection=setting.images)
    return load_data(DataSettings(name="cifar10", path=data, limit=4 * setting.images, split=split), seed=0)


def _forget_peak() -> None:
    with contextlib.suppress(OSError):  # Linux only
        Path("/proc/self/clear_refs").write_text("5")


def _peak_rss_mib() -> int | None:
    """Peak memory since `_forget_peak` (Linux only)."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return None
    return round(int(found[1]) / 1024) if found else None
