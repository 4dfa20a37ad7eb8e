"""`ofa report`: what a run found out, or how several runs compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa.console import JsonFlag, emit, note
from search_spaces.common.errors import UserError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="A run folder, finished or not.")],
    compare: Annotated[bool, typer.Option("--compare", help="Compare this run with the others named.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="With --compare: .html file or folder (default: beside the first run)."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write RUN/report.html and RUN/report.json, and show the winners; or compare RUN with others in one page."""
    if compare:
        _compare(runs, output, json=json)
        return
    if len(runs) > 1:
        raise UserError("one run has one report", key="RUN", value=str(runs[1]), hint="Compare runs with --compare")
    if output is not None:
        raise UserError("goes with --compare: a report stands in its run's folder", key="--output", value=str(output))
    from ofa.report.report import HTML, write_report

    facts = write_report(runs[0])
    if json:
        emit(facts)
        return
    from ofa.report.terminal import print_report

    print_report(facts)
    note(f"report: {runs[0] / HTML}")


def _compare(runs: list[Path], output: Path | None, *, json: bool) -> None:
    from ofa.report.compare.compare import write_comparison

    facts, page = write_comparison(runs, output)
    if json:
        emit(facts)
        return
    from ofa.report.compare.terminal import print_comparison

    print_comparison(facts)
    note(f"comparison: {page}")
