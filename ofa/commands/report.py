"""`ofa report`: what a run found out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit, note


def report(
    run: Annotated[Path, typer.Argument(help="A run folder, finished or not.")],
    json: JsonFlag = False,
) -> None:
    """Write RUN/report.html and RUN/report.json, and show the winners."""
    from ofa.report.report import HTML, write_report

    facts = write_report(run)
    if json:
        emit(facts)
        return
    from ofa.report.terminal import print_report

    print_report(facts)
    note(f"report: {run / HTML}")
