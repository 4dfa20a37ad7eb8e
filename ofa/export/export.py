"""One network written in every form that was asked for, verified, scored and measured; or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.settings import DeviceSettings
from ofa.export.architecture_file import FILE, write_architecture_file
from ofa.export.evaluate import final_test_score, form_accuracy, known_test_score, scored_form, selection_score
from ofa.export.finished import REPORT, SCHEMA, describe_inputs, file_facts, finished_export
from ofa.export.forms.base import Examined, Source
from ofa.export.forms.registry import get_form
from ofa.export.job import ExportJob, OverBudget
from ofa.export.layers import describe_layers, exact_costs
from ofa.export.remeasure import remeasure
from ofa.export.settings import ExportSettings
from ofa.export.source import export_source, real_images
from ofa.export.verify import verify_forms
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, write_json
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from ofa.export.boards import BoardJob

__all__ = ["REPORT", "SCHEMA", "ExportJob", "OverBudget", "export_network"]


def export_network(job: ExportJob, *, out: Path, settings: ExportSettings, quiet: bool = False) -> dict[str, Any]:
    """Write the folder `out` in one step and return its report; at once if it already holds exactly this.

    Every form is compared with the network on real images before anything is said to have been exported. Raises
    `UserError` when a form disagrees or a converter fails, and `OverBudget` when the file is too slow; then `out` is
    as it was before.
    """
    inputs = describe_inputs(job, settings)
    finished = finished_export(out, inputs)
    if finished is not None:
        return finished
    source = export_source(job, settings)
    steps = len(settings.forms) + 3 + len(job.devices) + len(job.boards)
    with atomic_directory(out) as folder, progress_bar(f"exporting {job.name}", steps, quiet=quiet) as advance:
        write_architecture_file(folder / FILE, job.described)
        for name in settings.forms:
            advance(0, note=name)
            _convert(name, source, folder)
            advance()
        differences = verify_forms(
            source.network,
            real_images(job, settings.num_images),
            folder=folder,
            forms=settings.forms,
            tolerance=settings.tolerance,
            ties=job.has_ties,
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
                name: {**file_facts(name, folder), **asdict(differences[name]), **more[name]} for name in settings.forms
            },
            **({"boards": boards} if boards else {}),
        }
        write_json(folder / REPORT, report)
        advance(note="")
    return report


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


def _more_facts(name: str, job: ExportJob, source: Source, folder: Path, batch_size: int) -> dict[str, Any]:
    """What the report says of a form besides its file and its difference."""
    form, side = get_form(name), job.architecture.resolution
    facts = dict(form.examine(source, folder)) if isinstance(form, Examined) else {}
    if not form.exact:
        facts["accuracy"] = form_accuracy(job.network, folder, name, job.data, resolution=side, batch_size=batch_size)
    return facts


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
