"""One network written in every form that was asked for, verified, scored and measured; or nothing at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latency_tables.settings import DeviceSettings
from ofa.export.architecture_file import FILE, write_architecture_file
from ofa.export.card import CardFacts, DataFacts, write_card
from ofa.export.catalog import WantedForms, wanted_forms
from ofa.export.evaluate import network_score, scored_form, test_scores
from ofa.export.failures import Failure, FormFailed
from ofa.export.finished import REPORT, SCHEMA, describe_inputs, finished_export
from ofa.export.job import ExportJob, OverBudget
from ofa.export.layers import describe_layers, exact_costs
from ofa.export.make_form import FormMaker
from ofa.export.remeasure import remeasure
from ofa.export.settings import ExportSettings
from ofa.export.source import export_source
from ofa.export.time_forms import HERE, time_forms
from search_spaces.common.errors import UserError
from search_spaces.common.files import atomic_directory, write_json
from search_spaces.common.progress import progress_bar

if TYPE_CHECKING:
    from ofa.export.boards import BoardJob

__all__ = ["REPORT", "SCHEMA", "ExportJob", "OverBudget", "export_network"]


def export_network(job: ExportJob, *, out: Path, settings: ExportSettings, quiet: bool = False) -> dict[str, Any]:
    """Write the folder `out` in one step and return its report; at once if it already holds exactly this.

    Every form is compared with the network on real images before anything is said to have been exported. One that a
    converter fails at, or that disagrees, is not in the folder: the report says why (`failed`), and the next call tries
    it again. Raises `UserError` when no form comes out, and `OverBudget` when the file is too slow; then `out` is as it
    was before.
    """
    wanted = wanted_forms(settings)
    inputs = describe_inputs(job, settings, wanted)
    finished = finished_export(out, inputs)
    if finished is not None:
        return finished
    source = export_source(job, settings, wanted)
    steps = len(wanted.forms) + 4 + len(job.devices) + len(job.boards)
    with atomic_directory(out) as folder, progress_bar(f"exporting {job.name}", steps, quiet=quiet) as advance:
        write_architecture_file(folder / FILE, job.described)
        made = _make_forms(wanted, FormMaker(job, settings, source, folder), advance)
        forms = made.forms
        advance(note="measuring")
        measured = {device.name: _remeasure(job, tuple(forms), folder, device, advance) for device in job.devices}
        _check_limits(job, measured)  # before the test split is read: a rejected network must not see it
        boards = {board.device.name: _deploy(job, board, folder, settings.batch_size, advance) for board in job.boards}
        advance(note="measuring files")
        _add_latencies(job, forms, folder, settings)
        advance(note="scoring")
        _add_test_scores(job, forms, folder, settings)
        report = {
            "schema": SCHEMA,
            "inputs": inputs,
            "name": job.name,
            "key": job.architecture.key,
            "architecture": job.architecture.to_json(),
            "network_sha256": job.network_sha256,
            **(job.facts or {}),
            "accuracy": {split: forms[scored_form(forms)]["accuracy"][split] for split in ("selection", "test")},
            "costs": exact_costs(job.space, job.architecture),
            "latency": _latencies(job, measured),
            "layers": describe_layers(job.space, job.architecture, job.latencies or {}),
            "forms": forms,
            "failed": {name: failure.facts() for name, failure in made.failed.items()},
            "missing": made.missing,
            "left_out": wanted.left_out,
            **({"boards": boards} if boards else {}),
        }
        write_json(folder / REPORT, report)
        facts = CardFacts(DataFacts.of(job.data)) if job.card is None else job.card
        write_card(folder, report=report, described=job.described, facts=facts)
        advance(note="")
    return report


@dataclass
class _Made:
    """Forms by name: the facts of those that came out, why others did not, and what brings those that lack a package
    where `all` that are installed were wanted.
    """

    forms: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def _make_forms(wanted: WantedForms, maker: FormMaker, advance: Any) -> _Made:
    """Raises `UserError` if no form came out."""
    made = _Made(missing=dict(wanted.missing))
    for name in wanted.forms:
        advance(0, note=name)
        try:
            made.forms[name] = maker.make(name)
        except FormFailed as error:
            if error.failure.install is not None and wanted.installed_only:
                made.missing[name] = error.failure.install
            else:
                made.failed[name] = error.failure
        advance()
    if not made.forms:
        raise _nothing_came_out(made, wanted)
    job, batch_size = maker.job, maker.settings.batch_size
    inexact = [name for name, facts in made.forms.items() if not facts["exact"]]
    if inexact:
        score = network_score(job.network, job.data, resolution=job.architecture.resolution, batch_size=batch_size)
        for name in inexact:
            made.forms[name]["accuracy"]["network"] = score
    return made


def _nothing_came_out(made: _Made, wanted: WantedForms) -> UserError:
    told = "; ".join(f"{name}: {failure.message}" for name, failure in made.failed.items())
    absent = {**made.missing, **wanted.left_out}
    hint = "; ".join(f"{name}: {how}" for name, how in absent.items()) or None
    return UserError(f"nothing was exported. {told or 'No form can be had here'}", key="forms", hint=hint)


def _add_latencies(job: ExportJob, forms: Mapping[str, dict[str, Any]], folder: Path, settings: ExportSettings) -> None:
    """Into the facts of every form: what its file takes here; null where not asked for, or not for this machine."""
    times: Mapping[str, dict[str, Any] | None] = dict.fromkeys(forms)
    if settings.measure_forms:
        # a run whose devices wait for no quiet machine does not wait here either; but times taken beside other work,
        # which may be ten times too long, are none
        no_waiting = bool(job.devices) and all(device.max_other_load is None for device in job.devices)
        device = HERE.model_copy(update={"patience_s": 0.0}) if no_waiting else HERE
        digests = {name: facts["sha256"] for name, facts in forms.items()}
        times = time_forms(digests, folder, input_shape=job.input_shape, device=device, journal=job.journal)
    for name, facts in forms.items():
        facts["latency"] = times[name]


def _add_test_scores(
    job: ExportJob, forms: Mapping[str, dict[str, Any]], folder: Path, settings: ExportSettings
) -> None:
    for name, score in test_scores(job, folder, list(forms), settings=settings).items():
        forms[name]["accuracy"]["test"] = score


def _remeasure(
    job: ExportJob, forms: tuple[str, ...], folder: Path, device: DeviceSettings, advance: Any
) -> dict[str, Any]:
    entry = remeasure(
        job.network,
        network_sha256=job.network_sha256,
        input_shape=job.input_shape,
        folder=folder,
        forms=forms,
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
