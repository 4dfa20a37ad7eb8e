"""Microcontroller boards on the page: what each winner needs there, as predicted and as found in the emulator, and how
accurate it is in int8; and what the board's table says of itself.
"""

from __future__ import annotations

from typing import Any

from ofa import text
from ofa.report.marks import swatch
from ofa.report.markup import Markup, join, tag

Report = dict[str, Any]

_HEAD = ("budget", "board", "selection, fp32", "selection, int8", "test, fp32", "test, int8", "SRAM", "flash")


def boards_section(report: Report) -> Markup | None:
    if not report["boards"]:
        return None
    rows = [
        _row(index, winner, name, board)
        for index, winner in enumerate(report["winners"])
        for name, board in ((winner["export"] or {}).get("boards") or {}).items()
    ]
    head = tag("thead", tag("tr", [tag("th", name, scope="col") for name in (*_HEAD, "instructions")]))
    table = tag("div", tag("table", head, tag("tbody", rows)), class_="scroll") if rows else None
    note = (
        "Winners of a board are chosen by their accuracy in int8 on the selection split, computed in integers as the "
        "board does. Memory, flash and instructions are those found where the bundle ran in an emulator that has the "
        "board's memory, its outputs equal to the integers bit for bit; below, what the table predicted."
    )
    certificates = [_certificate(name, board) for name, board in report["boards"].items()]
    return tag("section", tag("h2", "On the board"), tag("p", note, class_="note"), table, certificates, id="boards")


def _row(index: int, winner: Report, name: str, board: Report) -> Markup:
    accuracy, fp32 = board["accuracy"], winner["export"]["accuracy"]
    return tag(
        "tr",
        tag("td", swatch(index), " ", winner["budget"], tag("small", winner["key"])),
        tag("td", board["board"]["title"], tag("small", f"{name}: {board['folder']}/")),
        *(
            tag("td", text.share(None if found[split] is None else found[split]["accuracy"]))
            for split in ("selection", "test")
            for found in (fp32, accuracy)
        ),
        *(_found(board, metric) for metric in text.FOUND),
    )


def _found(board: Report, metric: str) -> Markup:
    found, predicted = board["verified"][text.FOUND[metric]], board["predicted"].get(metric)
    return tag("td", text.cost(found, metric), tag("small", f"predicted {text.cost(predicted, metric)}"))


def _certificate(name: str, board: Report) -> Markup:
    """What the table of a board says of itself."""
    rows = [("board", f"{board['title']}, {board['core']}"), ("operators", str(board["num_operators"]))]
    for metric, cost in board["costs"].items():
        has = "" if cost["capacity"] is None else f", of {text.cost(cost['capacity'], metric)} that are there"
        low, high = cost["range"] or (None, None)
        rows.append((metric.replace("_", " "), f"{text.cost(low, metric)} to {text.cost(high, metric)}{has}"))
    if (checked := board["checked"]) is not None:
        errors = ", ".join(
            f"{metric.replace('_', ' ')} {text.share(error, 3)}" for metric, error in checked["largest_errors"].items()
        )
        rows.append((f"largest errors on {checked['num']} whole networks", errors))
    rows += [("memory plan", board["memory_plan"]), *board["provenance"].items()]
    body = [tag("tr", tag("th", label, scope="row"), tag("td", value, class_="text")) for label, value in rows]
    return join(tag("h3", name), tag("table", tag("tbody", body)))
