"""The networks of several runs on the page: the best of each under the same budgets, and all that were tested."""

from __future__ import annotations

from typing import Any

from ofa import text
from ofa.report.compare.tables import cell, interval, run_cell, section, table
from ofa.report.markup import Markup, tag

Facts = dict[str, Any]


def budgets_section(comparison: Facts, labels: list[str]) -> Markup:
    note = (
        "Of every run the network most accurate on the selection split among its winners and its largest subnet that "
        "keep the budget, at the cost measured (where it was) on the exported file. Budgets within 2 % of each other "
        "are one, the looser. Below each: by how much the better is better on the test split, with the 95 % interval "
        "of two independent proportions (Newcombe). Networks tested on the same images could be compared more sharply "
        "if each image's outcome were stored, which it is not."
        + ("" if any(row["limits"] for row in comparison["budgets"]) else " No budget limits what two runs know.")
    )
    titles = {cost["name"]: cost for cost in comparison["costs"]}
    rows: list[Markup] = []
    for row in comparison["budgets"]:
        limits = [
            tag("div", text.cost(limit, titles[name]["metric"]), tag("small", titles[name]["title"]))
            for name, limit in row["limits"].items()
        ]
        limits = limits or [tag("div", "any cost")]
        known = zip(row["networks"], row["known"], strict=True)
        rows.append(tag("tr", tag("td", limits), [_budget_cell(one, row["limits"], knows) for one, knows in known]))
        sentences = [tag("div", _difference(pair, labels)) for pair in row["differences"]]
        if sentences:
            rows.append(tag("tr", tag("td", sentences, colspan=1 + len(labels), class_="text note")))
    return section("budgets", "The same budget", note, table(("at most", *labels), rows, runs_from=1))


def _budget_cell(network: Facts | None, limits: Facts, known: bool) -> Markup:
    if network is None:
        keeps = "no tested network keeps it" if limits else "none tested yet"
        return tag("td", keeps if known else "cost not known", class_="note")
    costs = ", ".join(
        text.cost(network["costs"][name], name.partition("@")[0])
        + (" measured" if name in network["measured"] else " predicted")
        for name in limits
    )
    return tag(
        "td",
        text.share(network["test"]),
        tag("small", f"{interval(network)}{' in int8' if network['precision'] == 'int8' else ''}"),
        tag("small", f"“{network['name']}” {network['key']}"),
        tag("small", costs),
    )


def _difference(pair: Facts, labels: list[str]) -> str:
    value, lower, upper = (f"{100 * pair[key]:+.2f}" for key in ("value", "lower", "upper"))
    better, worse = labels[pair["better"]], labels[pair["worse"]]
    verdict = "more than chance" if pair["distinct"] else "may be chance: the interval contains 0"
    return f"{better} against {worse}: {value} points ({lower} to {upper}); {verdict}."


def winners_section(comparison: Facts, labels: list[str]) -> Markup | None:
    """Every tested network of every run."""
    titles = {cost["name"]: cost for cost in comparison["costs"]}
    rows = []
    for number, networks in enumerate(comparison["tested"]):
        for network in networks:
            costs = [
                tag(
                    "div",
                    text.cost(value, titles[name]["metric"]),
                    tag("small", f"{titles[name]['title']}{'' if name in network['measured'] else ', predicted'}"),
                )
                for name, value in network["costs"].items()
                if "@" in name
            ]
            rows.append(
                tag(
                    "tr",
                    run_cell(number, labels[number], f"“{network['name']}” {network['key']}"),
                    tag("td", costs or "–"),
                    tag("td", text.count(network["costs"].get("macs"), "macs")),
                    tag("td", text.count(network["costs"].get("params"), "params")),
                    tag("td", text.share(network["selection"])),
                    cell(text.share(network["test"]), f"{interval(network)}, {network['precision']}"),
                )
            )
    if not rows:
        return None
    head = ("network", "cost", "MACs", "parameters", "selection", "test")
    tables = (table(head, rows), _architectures(comparison["tested"], labels))
    return section("winners", "Networks side by side", "Winners and largest subnets, as tested.", *tables)


def _architectures(tested: list[list[Facts]], labels: list[str]) -> Markup:
    """What each network is made of: a column for every choice of the spaces, values of its blocks in their order."""
    networks = [(number, network) for number, found in enumerate(tested) for network in found]
    choices = list(dict.fromkeys(choice for _, network in networks for choice in network["architecture"]))
    rows = [
        tag(
            "tr",
            run_cell(number, labels[number], f"“{network['name']}” {network['key']}"),
            [tag("td", _values(network["architecture"].get(choice)), class_="text") for choice in choices],
        )
        for number, network in networks
    ]
    return tag("details", tag("summary", "Their architectures"), table(("network", *choices), rows, words=True))


def _values(values: Any) -> str:
    """`3 5 –`: a dash for a block that is not there, and for a choice that another space has."""
    listed = values if isinstance(values, list) else [values]
    return " ".join(
        "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value) for value in listed
    )
