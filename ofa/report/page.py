"""The report as one HTML page that needs nothing else: no network, no other file, and no script to be read."""

from __future__ import annotations

from importlib import resources
from typing import Any

from ofa.report.appendix import data_section, records_section, reproduce_section
from ofa.report.boards import boards_section
from ofa.report.evidence import predictor_section, tables_section, training_section
from ofa.report.markup import Markup, join, raw_json, tag
from ofa.report.networks import networks_section
from ofa.report.overview import header, tradeoff_section, winners_section
from ofa.report.ranking import ranking_section

#: what the page may load: nothing but itself
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def render_page(report: dict[str, Any]) -> str:
    """The page of a report made by `gather`, which it also carries whole as JSON."""
    body = tag(
        "main",
        header(report),
        winners_section(report),
        boards_section(report),
        tradeoff_section(report),
        networks_section(report),
        tables_section(report),
        predictor_section(report),
        ranking_section(report),
        training_section(report),
        data_section(report),
        reproduce_section(report),
        records_section(report),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{report['name']} – specialised networks"),
        tag("style", Markup(_asset("page.css"))),
    )
    tail = join(
        tag("div", id="tip", role="tooltip", hidden=True),
        tag("script", raw_json(report), type="application/json", id="report"),
        tag("script", Markup(_asset("page.js"))),
    )
    return "<!DOCTYPE html>\n" + tag("html", head, tag("body", body, tail), lang="en") + "\n"


def _asset(name: str) -> str:
    return (resources.files("ofa.report") / "assets" / name).read_text()
