"""The last stage of a run before its report: every winner exported, and the largest subnet scored beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa.console import note
from ofa.export.catalog import wanted_forms
from ofa.export.export import export_network
from ofa.export.reference import score_largest
from ofa.export.search_file import read_search
from ofa.export.session import ExportSession
from ofa.search.budgets import device_of, metric_of
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import remove_leftovers

if TYPE_CHECKING:
    from ofa.config import RunConfig
    from ofa.export.boards import BoardJob

FOLDER = "specialized"


def export_winners(run: Path, config: RunConfig, *, quiet: bool = False) -> dict[str, dict[str, Any]]:
    """Export the winner of every budget of `search.json` into `specialized/BUDGET/`; budget -> export report.

    Finished exports are left alone. Raises `OverBudget` for a winner whose exported file breaks its budget. The test
    split is read here, after everything was chosen, once per network.
    """
    run = Path(run)
    found = read_search(run)
    session = ExportSession(run, config, quiet)
    if found["weights_sha256"] != session.supernet.weights_sha256:
        raise UserError(
            "is of another supernet than supernet.safetensors", file=run / "search.json", hint=f"ofa search {run}"
        )
    remove_leftovers(run / FOLDER)
    reports = {}
    for budget in found["budgets"]:
        winner = budget["winner"]
        architecture = Architecture.from_json(winner["architecture"], file=run / "search.json")
        network, finetuning = session.winner(architecture)
        facts = {"budget": budget_facts(budget), "search": search_facts(winner), "finetuning": finetuning}
        job = session.job(budget["name"], architecture, network, read_test=True, facts=facts)
        job = replace(job, limits=budget["limits"], boards=board_jobs(config, budget))
        report = export_network(job, out=run / FOLDER / budget["name"], settings=config.export, quiet=quiet)
        for form, failure in report["failed"].items():
            note(f"[{config.name}] warning: {budget['name']} was exported without {form}: {failure['message']}")
        reports[budget["name"]] = report
    score_largest(session)
    return reports


def board_jobs(config: RunConfig, budget: dict[str, Any]) -> tuple[BoardJob, ...]:
    """For the boards that a budget limits: the winner is put on each."""
    limited = {device_of(name) for name in budget["limits"]}
    boards = [board for board in config.boards if board.name in limited]
    if not boards:
        return ()
    from ofa.export.boards import FOLDER as BUNDLE
    from ofa.export.boards import BoardJob

    told, alone = budget["winner"]["predicted_costs"], "mcu" not in wanted_forms(config.export).forms
    return tuple(
        BoardJob(
            device=board,
            quantization=config.quantization,
            predicted={metric_of(name): told[name] for name in told if device_of(name) == board.name},
            folder=BUNDLE if len(boards) == 1 and alone else f"{BUNDLE}-{board.name}",
        )
        for board in boards
    )


def budget_facts(budget: dict[str, Any]) -> dict[str, Any]:
    """The limits of a budget of `search.json`, in base units by the name of the cost, and as they were written."""
    return {"name": budget["name"], "limits": budget["limits"], "written": budget["written"]}


def search_facts(winner: dict[str, Any]) -> dict[str, Any]:
    """What the search knew of a winner when it was named."""
    keys = ("predicted_accuracy", "predicted_costs", "measured", "selection_accuracy")
    return {key: winner[key] for key in keys} | {key: winner[key] for key in ("int8_accuracy",) if key in winner}
