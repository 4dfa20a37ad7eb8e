"""Whether an export has to be made: what it depends on, and whether the files in a folder are still those."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ofa.export.architecture_file import FILE
from ofa.export.card import FILE as CARD
from ofa.export.catalog import WantedForms
from ofa.export.forms.base import Folder
from ofa.export.forms.registry import get_form
from ofa.export.job import ExportJob
from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import digest, file_digest, read_json

SCHEMA = 1
REPORT = "report.json"


def describe_inputs(job: ExportJob, settings: ExportSettings, wanted: WantedForms) -> str:
    """A digest of all that the files and figures of an export depend on."""
    row = job.space.encode([job.architecture])
    boards = {"boards": [board.inputs() for board in job.boards]} if job.boards else {}
    if "mcu" in wanted.forms:
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
            "forms": list(wanted.forms),
            "torch": torch.__version__,
            **boards,
        }
    )


def finished_export(out: Path, inputs: str) -> dict[str, Any] | None:
    """The report in `out` if that was made from the same inputs, every form came out, and every file is still what was
    written.
    """
    path = out / REPORT
    if not path.exists():
        return None
    try:
        report = read_json(path, "export report")
        if report["schema"] != SCHEMA or report["inputs"] != inputs:
            return None
        if not all((out / name).exists() for name in (FILE, CARD)):
            return None
        if report["failed"]:
            return None
        whole = all(form_digest(name, out) == form["sha256"] for name, form in report["forms"].items())
        for board in report.get("boards", {}).values():
            from ofa.export.boards import is_whole

            whole = whole and is_whole(out, board)
    except (UserError, OSError, KeyError, TypeError, AttributeError):
        return None  # damaged or of another version: export anew
    return dict(report) if whole else None


def file_facts(name: str, folder: Path) -> dict[str, Any]:
    form = get_form(name)
    num = form.num_bytes(folder) if isinstance(form, Folder) else (folder / form.file).stat().st_size
    return {"file": form.file, "bytes": num, "sha256": form_digest(name, folder)}


def form_digest(name: str, folder: Path) -> str:
    form = get_form(name)
    return form.digest(folder) if isinstance(form, Folder) else file_digest(folder / form.file)
