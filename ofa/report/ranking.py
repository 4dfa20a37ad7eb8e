"""What the rankings of a run are worth, and what its genes buy: the ranking report on the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ofa import text
from ofa.rank import words
from ofa.report.evidence import accuracy_point
from ofa.report.markup import Markup, join, tag
from ofa.report.plots import Axis, agreement

Report = dict[str, Any]


def ranking_section(report: Report) -> Markup | None:
    """None where `ofa rank` has not judged this predictor."""
    ranking = report["ranking"]
    if ranking is None:
        return None
    level = f"{100 * ranking['level']:.0f} %"
    intro = (
        "Judged by networks that were evaluated for this alone: no predictor was fitted to them. Intervals are at "
        f"{level}, by bootstrap. Top-k regret: accuracy points between the best network and the best of the k that "
        "were ranked first."
    )
    return tag(
        "section",
        tag("h2", "Can the rankings be trusted?"),
        tag("p", intro, class_="note"),
        _predicted(ranking["predicted"]),
        None if ranking["standalone"] is None else _standalone(ranking["standalone"]),
        _sensitivity(ranking["sensitivity"]),
        id="ranking",
    )


def _predicted(part: Report) -> Markup:
    points = [accuracy_point(network["key"], network["accuracy"], network["predicted"]) for network in part["networks"]]
    chart = agreement(
        name="fresh",
        title="Accuracy of fresh networks: predicted against evaluated",
        axis=Axis("accuracy", "percent"),
        points=points,
        caption="Fresh networks, on the selection split; bars are the predicted intervals.",
    )
    return join(
        tag("h3", f"The predictor, against {part['num']} subnets it never saw"),
        _scores(part),
        tag(
            "div",
            chart,
            tag("div", _notes(words.predicted_notes(part))),
            class_="pair",
        ),
    )


def _standalone(part: Report) -> Markup:
    networks = [
        [network["key"], text.share(network["supernet"]), *(text.share(value) for value in network["alone"])]
        for network in part["networks"]
    ]
    head = ["network", "in the supernet", *(f"alone, seed {seed}" for seed in part["seeds"])]
    return join(
        tag("h3", f"The supernet, against {part['num']} networks trained alone"),
        _scores(part),
        _notes(words.standalone_notes(part)),
        tag("details", tag("summary", "These networks"), _table(head, networks)),
    )


def _sensitivity(part: Report) -> Markup:
    cost, head = part["costs"][0], words.step_head(part)
    kinds, steps = ([words.step_row(step, cost) for step in part[name]] for name in ("kinds", "steps"))
    title = words.sensitivity_title(part)
    single = _table(head, steps)
    return join(
        tag("h3", title[0].upper() + title[1:]),
        _notes([words.sensitivity_note(part)]),
        _table(head, kinds) if kinds else None,
        tag("details", tag("summary", f"Gene by gene: {len(steps)} steps"), single) if kinds else single,
    )


def _scores(part: Report) -> Markup:
    rows = list(words.score_rows(part))
    return _table(["ranked by", *rows[0][1]], [[name, *scores.values()] for name, scores in rows])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    headings = tag("thead", tag("tr", [tag("th", name, scope="col") for name in head]))
    body = tag("tbody", [tag("tr", [tag("td", value) for value in row]) for row in rows])
    return tag("div", tag("table", headings, body), class_="scroll")


def _notes(notes: Iterable[str]) -> Markup:
    return join([tag("p", note, class_="note") for note in notes])
