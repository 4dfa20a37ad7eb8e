"""An export with its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa.export.architecture_file import FILE, ArchitectureFile, read_architecture_file
from ofa.export.card import CardFacts, write_card
from ofa.export.export import ExportJob, export_network
from ofa.export.settings import ExportSettings


def export_with_card(
    job: ExportJob, forms: tuple[str, ...], facts: CardFacts, folder: Path
) -> tuple[Path, dict[str, Any], ArchitectureFile]:
    report = export_network(job, out=folder, settings=ExportSettings(forms=forms), quiet=True)
    described = read_architecture_file(folder / FILE)
    write_card(folder, report=report, described=described, facts=facts)
    return folder, report, described
