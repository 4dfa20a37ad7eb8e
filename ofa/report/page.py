"""The report as one HTML page that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

from typing import Any

from ofa.report.appendix import data_section, records_section, reproduce_section
from ofa.report.boards import boards_section
from ofa.report.evidence import predictor_section, tables_section, training_section
from ofa.report.explore import budgets_section, history_section, tradeoff_section
from ofa.report.markup import Markup, raw_json, tag
from ofa.report.networks import networks_section
from ofa.report.overview import header, winners_section
from ofa.report.ranking import ranking_section
from ofa.report.script import plotly, script, style

#: what a page may load: nothing but itself
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def document(title: str, body: Markup, data: object) -> str:
    """A whole page of `body` (usually a `<main>`), with style, Plotly and the script that draws its charts.

    `data` is what the script reads as JSON: that of `page_data`, or `{}` where nothing but charts of `plots.figure` is
    on the page.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", style()),
    )
    tail = (
        tag("script", raw_json(data), type="application/json", id="page-data"),
        tag("script", plotly(), id="plotly"),
        tag("script", script()),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", body, *tail), lang="en") + "\n"


def render_page(report: dict[str, Any], data: dict[str, Any]) -> str:
    """The page of a report made by `gather`; `data` is what its script knows of the networks (`page_data`)."""
    body = tag(
        "main",
        header(report),
        winners_section(report),
        boards_section(report),
        tradeoff_section(data),
        budgets_section(data),
        networks_section(report),
        tables_section(report),
        predictor_section(report),
        ranking_section(report),
        history_section(data),
        training_section(report),
        data_section(report),
        reproduce_section(report),
        records_section(report),
    )
    return document(f"{report['name']} – specialised networks", body, data)
