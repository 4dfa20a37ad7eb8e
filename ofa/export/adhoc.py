"""`ofa export RUN ARCH`: any network of a run's supernet, by file or as the winner of a budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa.export.export import export_network
from ofa.export.forms.registry import get_form
from ofa.export.search_file import FILE, read_search
from ofa.export.session import ExportSession
from ofa.export.settings import ExportSettings
from ofa.export.winners import budget_facts, search_facts
from search_spaces import Architecture
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import read_json, remove_leftovers
from search_spaces.common.settings import parse_settings

if TYPE_CHECKING:
    from ofa.config import RunConfig


def export_architecture(
    run: Path, config: RunConfig, which: str, *, forms: list[str] | None, out: Path | None, quiet: bool = False
) -> tuple[Path, dict[str, Any]]:
    """Export the architecture in the file `which`, or the winner of the budget called so; (folder, export report).

    Without `out` the folder is `RUN/exports/NAME`. The test split is not read: choosing among networks by it would
    spoil it. A network that a finished run scored shows that score.
    """
    settings = config.export
    if forms is not None:
        for form in forms:
            get_form(form, key="--format")
        settings = parse_settings(ExportSettings, {**settings.model_dump(), "forms": forms}, prefix="--format")
    session = ExportSession(run, config, quiet)
    name, architecture, facts = _find(run, which)
    session.space.encode([architecture], file=which)
    network, finetuning = (
        session.winner(architecture) if "search" in facts else (session.specialized(architecture), None)
    )
    job = session.job(name, architecture, network, read_test=False, facts={**facts, "finetuning": finetuning})
    folder = out if out is not None else run / "exports" / name
    _check_replaceable(folder)
    remove_leftovers(folder.parent)
    return folder, export_network(job, out=folder, settings=settings, quiet=quiet)


def read_architecture(path: Path) -> Architecture:
    """An architecture as JSON, alone or under the key `architecture` of an export, a record or a winner."""
    data = read_json(path, "architecture file")
    if isinstance(data, dict) and isinstance(data.get("architecture"), dict):
        data = data["architecture"]
    return Architecture.from_json(data, file=path)


def _find(run: Path, which: str) -> tuple[str, Architecture, dict[str, Any]]:
    """(name, architecture, what the search says about it)."""
    path = Path(which)
    if path.suffix == ".json" or path.exists():
        architecture = read_architecture(path)
        return architecture.key, architecture, {}
    if not (run / FILE).exists():
        raise UserError(
            "no such architecture file, and this run has no winners yet", file=which, hint=f"ofa search {run}"
        )
    budgets = {budget["name"]: budget for budget in read_search(run)["budgets"]}
    if which not in budgets:
        raise unknown_name("budget or architecture file", which, budgets, file=run / FILE)
    winner = budgets[which]["winner"]
    facts = {"budget": budget_facts(budgets[which]), "search": search_facts(winner)}
    return which, Architecture.from_json(winner["architecture"], file=run / FILE), facts


def _check_replaceable(folder: Path) -> None:
    """An export replaces its folder whole: refuse one that holds anything but an export."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "architecture.json").exists():
        raise UserError("holds other files than an export, and would be replaced", file=folder, key="-o")
    if folder.exists() and not folder.is_dir():
        raise UserError("is a file, not a folder", file=folder, key="-o")
