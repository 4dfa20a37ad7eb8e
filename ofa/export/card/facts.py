"""What a model card says that neither the report of an export nor its architecture file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from latency_tables.conformal import interval
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from trainers.data.splits import SPLITS

if TYPE_CHECKING:
    from latency_tables.fingerprint import DeviceFingerprint
    from latency_tables.table import LatencyTable
    from ofa.export.session import ExportSession
    from trainers.data import ImageData

#: of the intervals around predicted latencies
CONFIDENCE = 0.95


@dataclass(frozen=True)
class SplitFacts:
    name: str
    num_images: int
    sha256: str


@dataclass(frozen=True)
class DataFacts:
    """The images. Before the network's own resolution comes into it, pictures have the side `image_size`: those that
    came encoded are cropped to the central square of `crop_fraction` of their short side and resized to it; None: they
    came as arrays of that side.
    """

    name: str
    splits: tuple[SplitFacts, ...]
    image_size: int
    crop_fraction: float | None = None
    licence: str | None = None

    @classmethod
    def of(cls, data: ImageData) -> DataFacts:
        splits = tuple(SplitFacts(split, data.size(split), data.split_sha256[split]) for split in SPLITS)
        return cls(data.name, splits, data.image_size, data.crop_fraction, data.licence)


@dataclass(frozen=True)
class DeviceFacts:
    """Where latencies were measured, and how far the table's predictions can be off: measured / predicted lies between
    the two factors of `interval` with `confidence`, going by `num_graded` measurements of whole networks; None where
    they are too few.
    """

    machine: str
    interval: tuple[float, float] | None = None
    confidence: float = CONFIDENCE
    num_graded: int = 0

    @classmethod
    def of(cls, table: LatencyTable, *, confidence: float = CONFIDENCE) -> DeviceFacts:
        predicted, measured = table.graded
        try:
            bounds = interval(predicted, measured, confidence)
        except UserError:  # graded on too few networks
            return cls(machine_text(table.device), None, confidence, len(predicted))
        return cls(machine_text(table.device), (bounds.low, bounds.high), confidence, len(predicted))


@dataclass(frozen=True)
class RunFacts:
    """`imported`: the file of published weights that the supernet was made of, and its sha256."""

    name: str
    seed: int
    config_sha256: str | None = None
    imported: Mapping[str, str] | None = None


@dataclass(frozen=True)
class CardFacts:
    """`run` None: made by a program, without a run. `licence`: of the weights, as SPDX has it."""

    data: DataFacts
    run: RunFacts | None = None
    devices: Mapping[str, DeviceFacts] = field(default_factory=dict)
    licence: str | None = None


def card_facts(session: ExportSession, *, licence: str | None = None) -> CardFacts:
    """Of a run that is open for exporting."""
    from latency_tables.table import LatencyTable
    from ofa.search.costs import run_tables

    tables = run_tables(session.run, [device.name for device in session.config.timed])
    imported = session.supernet.info["data"].get("imported")
    return CardFacts(
        data=DataFacts.of(session.data),
        run=RunFacts(session.config.name, session.config.seed, _digest(session.run / "config.yaml"), imported),
        devices={name: DeviceFacts.of(table) for name, table in tables.items() if isinstance(table, LatencyTable)},
        licence=licence,
    )


def machine_text(device: DeviceFingerprint) -> str:
    """`AMD EPYC, 2 cores, x86_64 Linux; onnxruntime 1.32.0, float32, 1 thread`."""
    threads = f"{device.threads} thread{'' if device.threads == 1 else 's'}"
    beside = f", beside {device.contention} busy processes" if device.contention else ""
    where = f"{device.cpu}, {device.cores} cores, {device.machine} {device.os}"
    return f"{where}; {device.runtime} {device.runtime_version}, {device.precision}, {threads}{beside}"


def _digest(path: Path) -> str | None:
    return file_digest(path) if path.exists() else None
