"""`ofa run`: the whole way from a config to specialised networks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, SetOption, emit, note


def run(
    config: Annotated[Path, typer.Argument(help="A YAML config; see configs/.")],
    overrides: SetOption = None,
    runs: Annotated[Path, typer.Option(help="The folder that run folders are made in.")] = Path("runs"),
    json: JsonFlag = False,
) -> None:
    """Measure, train, record, fit, search, export and report into runs/NAME; finished stages are skipped."""
    from ofa.pipeline import run_pipeline

    report = run_pipeline(config, overrides or [], runs=runs, quiet=json)
    if json:
        emit(report)
        return
    from ofa.report.report import HTML
    from ofa.report.terminal import print_report

    print_report(report)
    note(f"report: {runs / report['name'] / HTML}")
