"""One network written in every form that was asked for, verified, scored and measured; or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule

from latency_tables.settings import DeviceSettings
from ofa.export.architecture_file import FILE, ArchitectureFile, Preprocessing, write_architecture_file
from ofa.export.calibration import calibration_images
from ofa.export.evaluate import final_test_score, form_accuracy, known_test_score, scored_form, selection_score
from ofa.export.forms.base import Deployment, Examined, Folder, Source
from ofa.export.forms.registry import get_form
from ofa.export.layers import describe_layers, exact_costs
from ofa.export.remeasure import remeasure
from ofa.export.settings import ExportSettings
from ofa.export.verify import verify_forms
from ofa.mcu.settings import QuantizationSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, digest, file_digest, read_json, write_json
from search_spaces.common.progress import progress_bar
from search_spaces.costs import CostTable
from trainers.checkpoints.store import weights_digest
from trainers.data import ImageData

if TYPE_CHECKING:
    from ofa.export.boards import BoardJob

SCHEMA = 1
REPORT = "report.json"

#: images whose outputs come with the form for microcontrollers
_NUM_GOLDEN = 8


@dataclass(frozen=True)
class ExportJob:
    """What is exported and what is said about it.

    `devices` and `latencies` (device name -> cost table in ms): where it is measured, and what was predicted.
    `boards`: those that it is put on as a bundle of C. `ledger`: the file that test readings are entered in;
    `read_test`: whether this network may read the test split, or only show a score it has. `facts` are copied into the
    report (budget, predictions, fine-tuning).
    """

    name: str
    network: GraphModule
    architecture: Architecture
    space: SearchSpace
    data: ImageData
    ledger: Path
    read_test: bool
    devices: Sequence[DeviceSettings] = ()
    latencies: Mapping[str, CostTable] | None = None
    facts: Mapping[str, Any] | None = None
    journal: Path | None = None
    boards: Sequence[BoardJob] = ()
    quantization: QuantizationSettings = field(default_factory=QuantizationSettings)
    """How the form for microcontrollers finds its ranges, from `ExportSettings.num_calibration_images` images."""
    limits: Mapping[str, float] | None = None
    """Budget by the name of the cost (`latency@DEVICE` in ms): what the exported file must keep when it is measured."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        side = self.architecture.resolution
        return (self.space.in_channels, side, side)

    @property
    def network_sha256(self) -> str:
        return weights_digest(self.network.state_dict())

    @property
    def test_key(self) -> str:
        """What the ledger knows this network by: other weights are another network."""
        return f"{self.architecture.key}-{self.network_sha256[:16]}"


class OverBudget(Exception):
    """The exported file is slower than its budget; nothing was written. `measured` is the entry of its measurement."""

    def __init__(self, key: str, cost: str, measured: Mapping[str, Any]) -> None:
        super().__init__(f"{key} takes {measured['median_ms']:.4g} ms as exported, over its limit on {cost}")
        self.key, self.cost, self.measured = key, cost, measured


def export_network(job: ExportJob, *, out: Path, settings: ExportSettings, quiet: bool = False) -> dict[str, Any]:
    """Write the folder `out` in one step and return its report; at once if it already holds exactly this.

    Every form is compared with the network on real images before anything is said to have been exported. Raises
    `UserError` when a form disagrees or a converter fails, and `OverBudget` when the file is too slow; then `out` is
    as it was before.
    """
    inputs = _inputs(job, settings)
    finished = finished_export(out, inputs)
    if finished is not None:
        return finished
    network = job.network.eval()
    source = Source(network, job.input_shape, _calibration(job, settings), _deployment(job, settings), settings.npu)
    steps = len(settings.forms) + 3 + len(job.devices) + len(job.boards)
    with atomic_directory(out) as folder, progress_bar(f"exporting {job.name}", steps, quiet=quiet) as advance:
        write_architecture_file(folder / FILE, _described(job))
        for name in settings.forms:
            advance(0, note=name)
            _convert(name, source, folder)
            advance()
        differences = verify_forms(
            network,
            _real_images(job, settings.num_images),
            folder=folder,
            forms=settings.forms,
            tolerance=settings.tolerance,
            ties=any(operator.has_ties for _, operator in job.space.network(job.architecture)),
        )
        advance(note="scoring")
        more = {name: _more_facts(name, job, source, folder, settings.batch_size) for name in settings.forms}
        form = scored_form(settings.forms)
        side, batch_size = job.architecture.resolution, settings.batch_size
        selection = selection_score(folder, form, job.data, resolution=side, batch_size=batch_size)
        advance(note="measuring" if job.devices else "")
        measured = {device.name: _remeasure(job, settings, folder, device, advance) for device in job.devices}
        _check_limits(job, measured)  # before the test split is read: a rejected network must not see it
        boards = {board.device.name: _deploy(job, board, folder, batch_size, advance) for board in job.boards}
        test = _test_score(job, folder, form, batch_size)
        report = {
            "schema": SCHEMA,
            "inputs": inputs,
            "name": job.name,
            "key": job.architecture.key,
            "architecture": job.architecture.to_json(),
            "network_sha256": job.network_sha256,
            **(job.facts or {}),
            "accuracy": {"selection": selection, "test": test},
            "costs": exact_costs(job.space, job.architecture),
            "latency": _latencies(job, measured),
            "layers": describe_layers(job.space, job.architecture, job.latencies or {}),
            "forms": {
                name: {**_file_facts(name, folder), **asdict(differences[name]), **more[name]}
                for name in settings.forms
            },
            **({"boards": boards} if boards else {}),
        }
        write_json(folder / REPORT, report)
        advance(note="")
    return report


def finished_export(out: Path, inputs: str) -> dict[str, Any] | None:
    """The report in `out` if that was made from the same inputs and every file is still what was written."""
    path = out / REPORT
    if not path.exists():
        return None
    try:
        report = read_json(path, "export report")
        if report["schema"] != SCHEMA or report["inputs"] != inputs or not (out / FILE).exists():
            return None
        whole = all(_digest(name, out) == form["sha256"] for name, form in report["forms"].items())
        for board in report.get("boards", {}).values():
            from ofa.export.boards import is_whole

            whole = whole and is_whole(out, board)
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None  # damaged or of another version: export anew
    return dict(report) if whole else None


def _convert(name: str, source: Source, folder: Path) -> None:
    form = get_form(name)
    try:
        form.write(source, folder)
    except (UserError, OSError):
        raise
    except Exception as error:  # every converter has errors of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the network cannot be converted: {reason}",
            key=f"forms.{name}",
            hint="Nothing was exported; leave this form out to get the others",
        ) from error


def _calibration(job: ExportJob, settings: ExportSettings) -> torch.Tensor | None:
    """What forms in integers are calibrated on, if there are any."""
    if all(get_form(name).exact for name in settings.forms):
        return None
    side, num = job.architecture.resolution, settings.num_calibration_images
    return calibration_images(job.data, resolution=side, num=num)


def _deployment(job: ExportJob, settings: ExportSettings) -> Deployment | None:
    """What the form for microcontrollers takes, if it is wanted."""
    if "mcu" not in settings.forms:
        return None
    return Deployment(
        board=settings.board,
        golden=_real_images(job, _NUM_GOLDEN)[:_NUM_GOLDEN],
        mean=job.data.mean,
        std=job.data.std,
        class_names=job.data.class_names,
        quantization=job.quantization.model_copy(update={"num_images": settings.num_calibration_images}),
        facts={"key": job.architecture.key, "architecture": job.architecture.to_json(), "space": job.space.description},
    )


def _more_facts(name: str, job: ExportJob, source: Source, folder: Path, batch_size: int) -> dict[str, Any]:
    """What the report says of a form besides its file and its difference."""
    form, side = get_form(name), job.architecture.resolution
    facts = dict(form.examine(source, folder)) if isinstance(form, Examined) else {}
    if not form.exact:
        facts["accuracy"] = form_accuracy(job.network, folder, name, job.data, resolution=side, batch_size=batch_size)
    return facts


def _real_images(job: ExportJob, num: int) -> torch.Tensor:
    """The first `num` images of the selection split (all, if it has fewer)."""
    images = []
    for batch, _ in job.data.batches("selection", resolution=job.architecture.resolution, batch_size=num):
        images.append(batch)
        break
    return torch.cat(images)


def _remeasure(
    job: ExportJob, settings: ExportSettings, folder: Path, device: DeviceSettings, advance: Any
) -> dict[str, Any]:
    entry = remeasure(
        job.network,
        network_sha256=job.network_sha256,
        input_shape=job.input_shape,
        folder=folder,
        forms=settings.forms,
        device=device,
        journal=job.journal,
    )
    advance()
    return entry


def _deploy(job: ExportJob, board: BoardJob, folder: Path, batch_size: int, advance: Any) -> dict[str, Any]:
    from ofa.export.boards import deploy

    advance(0, note=board.device.name)
    facts = deploy(job, board, folder, batch_size=batch_size)
    advance()
    return facts


def _test_score(job: ExportJob, folder: Path, form: str, batch_size: int) -> dict[str, Any] | None:
    if not job.read_test:
        return known_test_score(job.data, ledger=job.ledger, key=job.test_key)
    side = job.architecture.resolution
    return final_test_score(
        folder, form, job.data, resolution=side, batch_size=batch_size, ledger=job.ledger, key=job.test_key
    )


def _check_limits(job: ExportJob, measured: Mapping[str, Any]) -> None:
    for device, entry in measured.items():
        cost = f"latency@{device}"
        if entry["median_ms"] > (job.limits or {}).get(cost, math.inf):
            raise OverBudget(job.architecture.key, cost, entry)


def _latencies(job: ExportJob, measured: Mapping[str, Any]) -> dict[str, Any]:
    """device -> {"predicted_ms", "measured"}; null where there is no table, or nothing was measured."""
    row = job.space.encode([job.architecture])
    predicted = {device: float(table.evaluate(row)[0]) for device, table in (job.latencies or {}).items()}
    return {
        device: {"predicted_ms": predicted.get(device), "measured": measured.get(device)}
        for device in dict.fromkeys([*predicted, *measured])
    }


def _described(job: ExportJob) -> ArchitectureFile:
    data = job.data
    preprocessing = Preprocessing(
        resolution=job.architecture.resolution, in_channels=data.in_channels, mean=data.mean, std=data.std
    )
    return ArchitectureFile(job.space, job.architecture, preprocessing, data.class_names)


def _file_facts(name: str, folder: Path) -> dict[str, Any]:
    form = get_form(name)
    num = form.num_bytes(folder) if isinstance(form, Folder) else (folder / form.file).stat().st_size
    return {"file": form.file, "bytes": num, "sha256": _digest(name, folder)}


def _digest(name: str, folder: Path) -> str:
    form = get_form(name)
    return form.digest(folder) if isinstance(form, Folder) else file_digest(folder / form.file)


def _inputs(job: ExportJob, settings: ExportSettings) -> str:
    row = job.space.encode([job.architecture])
    boards = {"boards": [board.inputs() for board in job.boards]} if job.boards else {}
    if "mcu" in settings.forms:
        boards["quantization"] = [[job.quantization.model_dump(mode="json")]]
    return digest(
        {
            "schema": SCHEMA,
            "name": job.name,
            "network": job.network_sha256,
            "architecture": job.architecture.to_json(),
            "space": job.space.fingerprint,
            "splits": {split: job.data.split_sha256[split] for split in ("calibration", "selection", "test")},
            "read_test": job.read_test,
            "devices": [device.model_dump(mode="json") for device in job.devices],
            "predicted": {device: float(table.evaluate(row)[0]) for device, table in (job.latencies or {}).items()},
            "facts": dict(job.facts or {}),
            "settings": settings.model_dump(mode="json"),
            "torch": torch.__version__,
            **boards,
        }
    )
