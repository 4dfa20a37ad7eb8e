"""`report.html` and `report.json` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ofa.report.gather import describe
from ofa.report.page import render_page
from ofa.report.page_data import page_data
from ofa.report.sources import read_sources
from search_spaces.common.files import write_json, write_text

JSON, HTML = "report.json", "report.html"


def write_report(run: Path) -> dict[str, Any]:
    """Write both files into the run folder and return the report. Works on unfinished runs: it says what is missing.

    Raises `UserError` for a folder that is no run or a file of it that is damaged.
    """
    run = Path(run)
    found = read_sources(run)
    report = describe(found)
    page = render_page(report, page_data(found))
    write_json(run / JSON, report)
    write_text(run / HTML, page)
    return report
