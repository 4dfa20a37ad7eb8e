"""`comparison.html` and `comparison.json` of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofa.report.compare.gather import compare
from ofa.report.compare.page import render_comparison
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_json, write_text

HTML = "comparison.html"


def write_comparison(folders: Sequence[Path], output: Path | None = None) -> tuple[dict[str, Any], Path]:
    """Compare runs, finished or not, and write the page and its JSON; the comparison, and where the page is.

    `output` is an .html file, or a folder for `comparison.html`; left out, that stands beside the first run. Raises
    `UserError` as `read_runs`, with nothing written.
    """
    comparison = compare(folders)
    page = Path(folders[0]).resolve().parent / HTML if output is None else _page(output)
    html = render_comparison(comparison)
    write_json(page.with_suffix(".json"), comparison)
    write_text(page, html)
    return comparison, page


def _page(output: Path) -> Path:
    if output.suffix == ".html":
        return output
    if output.suffix and not output.is_dir():
        raise UserError("is neither a folder nor an .html file", file=output, key="--output")
    return output / HTML
