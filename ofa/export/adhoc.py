"""`ofa export RUN ARCH`: any network of a run's supernet, by file, key or budget, as it is or fine-tuned."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa.export.architecture_file import check_replaceable
from ofa.export.export import export_network
from ofa.export.finetune import FILE as TUNED
from ofa.export.finetune import FOLDER as TUNED_FOLDER
from ofa.export.finetune import load_finetuned
from ofa.export.forms.registry import FORMS, form_name, get_form
from ofa.export.search_file import FILE, read_search
from ofa.export.session import ExportSession
from ofa.export.settings import ALL, ExportSettings
from ofa.export.winners import budget_facts, search_facts
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.files import remove_leftovers
from search_spaces.common.settings import parse_settings
from trainers.architectures import find_architecture, read_architecture

if TYPE_CHECKING:
    from ofa.config import RunConfig

#: the key of an architecture
_KEY = re.compile("[0-9a-f]{12}")


def export_architecture(
    run: Path,
    config: RunConfig,
    which: str,
    *,
    forms: list[str] | None,
    board: str | None = None,
    npu: str | None = None,
    out: Path | None,
    finetuned: bool = False,
    quiet: bool = False,
) -> tuple[Path, dict[str, Any]]:
    """Export the architecture that `which` means (a file, a budget's name, a key on record); (folder, export report).

    With `finetuned` the network is the one in RUN/finetuned/KEY; `which` may also be another folder of a fine-tuning.
    Without `out` the folder is `RUN/exports/NAME`. The test split is not read: choosing among networks by it would
    spoil it. Only a network that a finished run scored is scored in its other forms too.
    """
    settings = config.export
    if forms is not None:
        forms = [form_name(name) for name in forms]
        _check_any_installed(forms)
        if board is None and {"mcu", ALL} & set(forms) and settings.board is None and len(config.boards) == 1:
            board = config.boards[0].board
    chosen = {"forms": forms, "board": board, "npu": npu}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if chosen:
        prefix = "--format" if forms is not None else f"--{next(iter(chosen))}"
        settings = parse_settings(ExportSettings, {**settings.model_dump(), **chosen}, prefix=prefix)
    if Path(which).is_file():
        read_architecture(Path(which))  # a damaged file is told before the supernet is read
    session = ExportSession(run, config, quiet)
    facts: dict[str, Any] = {}
    finetuning: dict[str, Any] | None = None
    tuned = Path(which) if (Path(which) / TUNED).exists() else None
    if tuned is not None:
        architecture, network, outcome = load_finetuned(session, tuned)
        name, finetuning = f"{architecture.key}-finetuned", asdict(outcome)
    else:
        name, architecture, facts = _find(run, which, session.space)
        session.space.encode([architecture], file=which)
        if finetuned:
            _, network, outcome = load_finetuned(session, run / TUNED_FOLDER / architecture.key)
            name, finetuning = f"{name}-finetuned", asdict(outcome)
        elif "search" in facts:
            network, finetuning = session.winner(architecture)
        else:
            network = session.specialized(architecture)
    job = session.job(name, architecture, network, read_test=False, facts={**facts, "finetuning": finetuning})
    folder = out if out is not None else run / "exports" / name
    check_replaceable(folder, key="-o")
    remove_leftovers(folder.parent)
    return folder, export_network(job, out=folder, settings=settings, quiet=quiet)


def _check_any_installed(forms: list[str]) -> None:
    """Raises `UserError` for an unknown name, and where none of `forms` is installed: before the supernet is read."""
    errors = []
    for name in (name for name in forms if name != ALL):
        FORMS.get(name, key="--format")
        try:
            get_form(name, key="--format")
        except UserError as error:
            errors.append(error)
    if forms and len(errors) == len(forms):
        raise errors[0]


def _find(run: Path, which: str, space: SearchSpace) -> tuple[str, Architecture, dict[str, Any]]:
    """(name, architecture, what the search says about it)."""
    path = Path(which)
    if path.suffix == ".json" or path.exists():
        architecture = read_architecture(path)
        return architecture.key, architecture, {}
    if which in ("largest", "smallest") or _KEY.fullmatch(which):
        architecture = find_architecture(which, space, run)
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
