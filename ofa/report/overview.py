"""The top of the page: what came out, in a few numbers and one table."""

from __future__ import annotations

from typing import Any

from ofa import text
from ofa.report.marks import swatch
from ofa.report.markup import Markup, join, tag

Report = dict[str, Any]


def header(report: Report) -> Markup:
    num, space, data = len(report["winners"]), report["space"], report["data"]
    what = f"{num} specialised network{'s' if num != 1 else ''} from one supernet" if num else "No winner yet"
    about = [what]
    if data is not None:
        about.append(f"images: {data['name']}, {len(data['class_names'])} classes")
    if space is not None:
        about.append(f"space: {space['name']}, {text.networks(space['size'])} networks")
    return join(
        tag("h1", report["name"]), tag("p", " · ".join(about), class_="lead"), _headline(report), _missing(report)
    )


def winners_section(report: Report) -> Markup | None:
    """The table of winners: what was promised, what was measured."""
    if not report["winners"]:
        return None
    head = ("budget", "limit", "predicted", "re-measured", "exported", "predicted", "selection", "test", "size")
    groups = (("", 2), ("latency or other cost", 3), ("accuracy", 3), ("", 1))
    rows = [_winner_row(index, winner) for index, winner in enumerate(report["winners"])]
    if report["reference"] is not None:
        rows.append(_reference_row(report["reference"]))
    return tag(
        "section",
        tag("h2", "Winners"),
        tag("p", _explanation(report), class_="note"),
        tag(
            "div",
            tag(
                "table",
                tag(
                    "thead",
                    tag(
                        "tr", [tag("th", name, colspan=span, class_="group" if name else None) for name, span in groups]
                    ),
                    tag("tr", [tag("th", name, scope="col") for name in head]),
                ),
                tag("tbody", rows),
            ),
            class_="scroll",
        ),
        id="winners",
    )


def _headline(report: Report) -> Markup | None:
    """The few numbers a reader should leave with."""
    items = []
    reference = report["reference"]
    if reference is not None:
        test = reference["accuracy"]["test"]["accuracy"]
        items.append((text.share(test), "test accuracy of the largest subnet"))
    for winner in report["winners"][:3]:
        accuracy = text.tested_accuracy(winner)
        which = "test" if accuracy is not None else "selection"
        shown = accuracy if accuracy is not None else winner["selection_accuracy"]
        name = next(iter(winner["limits"]))
        measured = text.remeasured(winner, name)
        value = measured if measured is not None else winner["predicted_costs"][name]
        items.append((text.share(shown), f"{which} accuracy of “{winner['budget']}” at {text.cost(value, name)}"))
    if not items:
        return None
    return tag("ul", [tag("li", tag("b", value), tag("span", label)) for value, label in items], class_="headline")


def _missing(report: Report) -> Markup | None:
    if not report["missing"]:
        return None
    items = [
        tag("li", f"{item['part']} ({item['file']}): ", tag("code", item["command"])) for item in report["missing"]
    ]
    return tag(
        "div",
        tag("b", "This run is not complete. Still missing, and what makes it:"),
        tag("ul", items),
        class_="missing",
    )


def _explanation(report: Report) -> str:
    readings = report["test_readings"]
    return (
        "Predicted by the latency table; re-measured as whole networks on the device before a winner was named; "
        "measured again from the exported file. Networks were chosen by selection accuracy alone. "
        "The test split was opened "
        f"{readings['opened']} time{'s' if readings['opened'] != 1 else ''} for {readings['scored']} "
        f"network{'s' if readings['scored'] != 1 else ''}, after everything was chosen."
    )


def _winner_row(index: int, winner: Report) -> Markup:
    names = list(winner["limits"])
    predicted = winner["predicted_accuracy"]
    export = winner["export"]
    tuned = export is not None and export["finetuning"] is not None and export["finetuning"]["kept"]
    selection = text.selected_accuracy(winner)
    return tag(
        "tr",
        tag("td", swatch(index), " ", winner["budget"], tag("small", winner["key"])),
        tag("td", [_line_of(text.cost(winner["limits"][name], name), name.removeprefix("latency@")) for name in names]),
        tag("td", [_line_of(text.cost(winner["predicted_costs"][name], name)) for name in names]),
        tag("td", [_checked(text.remeasured(winner, name), winner["limits"][name], name) for name in names]),
        tag("td", [_checked(text.exported_cost(winner, name), winner["limits"][name], name) for name in names]),
        tag("td", text.share(predicted["mean"]), tag("small", text.interval(predicted))),
        tag("td", text.share(selection), tag("small", "fine-tuned") if tuned else None, _in_int8(winner)),
        tag("td", text.share(text.tested_accuracy(winner))),
        _size(winner["costs"]),
    )


def _in_int8(winner: Report) -> Markup | None:
    if winner["chosen_by"] != "int8_accuracy":
        return None
    return tag("small", f"{text.share(winner['int8_accuracy'])} in int8, which chose it")


def _reference_row(reference: Report) -> Markup:
    latency = [_line_of(text.milliseconds(value), device) for device, value in reference["latency"].items()]
    dash = tag("td", "–")
    return tag(
        "tr",
        tag("td", "largest subnet", tag("small", reference["key"])),
        tag("td", "none"),
        tag("td", latency) if latency else dash,
        dash,
        dash,
        dash,
        *(tag("td", text.share(reference["accuracy"][split]["accuracy"])) for split in ("selection", "test")),
        _size(reference["costs"]),
    )


def _size(costs: Report) -> Markup:
    return tag("td", text.count(costs["macs"], "macs"), tag("small", f"{text.count(costs['params'], 'params')} params"))


def _line_of(value: str, label: str | None = None) -> Markup:
    return tag("div", value, tag("small", label) if label is not None else None)


def _checked(value: float | None, limit: float, name: str) -> Markup:
    """A measured value, marked by whether it keeps the limit; in words too, not by colour alone."""
    if value is None:
        return tag("div", "–")
    keeps = value <= limit
    return tag(
        "div",
        text.cost(value, name),
        tag("small", "✓ keeps it" if keeps else "✗ over budget"),
        class_="keeps" if keeps else "breaks",
    )
