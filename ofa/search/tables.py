"""Search results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from ofa.search.budgets import format_cost


def print_winners(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Winners of a search of a run: accuracies, limits, predicted and measured costs; slot by slot with `explain`."""
    in_int8 = any("int8_accuracy" in budget["winner"] for budget in facts["budgets"])
    int8 = ("in int8",) if in_int8 else ()
    networks = Table("budget", "network", "predicted accuracy", "selection accuracy", *int8)
    costs = Table("budget", "cost", "at most", "predicted", "measured")
    for budget in facts["budgets"]:
        winner = budget["winner"]
        selection = f"{winner['selection_accuracy']:.2%}"
        told = f"{winner['int8_accuracy']:.2%}" if "int8_accuracy" in winner else ""
        row = (budget["name"], winner["key"], _accuracy(winner["predicted_accuracy"]), selection)
        networks.add_row(*row, *((told,) if in_int8 else ()))
        for name, limit in budget["limits"].items():
            measured = winner["measured"].get(name)
            costs.add_row(
                budget["name"],
                name,
                format_cost(limit, name),
                format_cost(winner["predicted_costs"][name], name),
                "" if measured is None else format_cost(measured["median_ms"], name),
            )
    console = Console()
    if (evaluated := facts.get("evaluated")) is not None:
        console.print(f"{evaluated['num_evaluated']} networks evaluated for real first (study {evaluated['study']})")
    console.print(networks, costs)
    if explain:
        for budget in facts["budgets"]:
            limited = {name: budget["winner"]["contributions"][name] for name in budget["limits"]}
            title = f"{budget['name']}: {budget['winner']['key']}"
            print_contributions(title, limited)
            if (effects := budget["winner"].get("gene_effects")) is not None:  # files of older versions have none
                print_effects(title, {name: effects[name] for name in budget["limits"]})
    if (universal := facts.get("universal")) is not None:
        console.print(_losses(universal), highlight=False)


def print_front(facts: Mapping[str, Any]) -> None:
    """Networks that no other beats in accuracy and all costs, cheapest in the first cost first."""
    names = list(dict.fromkeys([*facts["costs"], *facts["limits"]]))
    rows = Table("network", "predicted accuracy", *names)
    for point in facts["points"]:
        costs = [format_cost(point["predicted_costs"][name], name) for name in names]
        rows.add_row(point["key"], _accuracy(point["predicted_accuracy"]), *costs)
    Console(highlight=False).print(rows)


def print_study(facts: Mapping[str, Any]) -> None:
    """What a study of real evaluations has found so far: the best network within its limits, and the front."""
    console = Console(highlight=False, soft_wrap=True)
    lost = f", {facts['num_lost']} lost with their workers" if facts["num_lost"] else ""
    told = f", {facts['num_told']} known before" if facts["num_told"] else ""
    console.print(
        f"study {facts['study']} in {facts['storage']}: {facts['num_evaluated']} networks evaluated{told}{lost}"
    )
    if not facts["complete"]:
        console.print("nothing that is new is left within the limits")
    if facts["best"] is None:
        console.print("none of them keeps the limits")
        return
    shown = [*facts["limits"], *(name for name in facts["objectives"][1:] if name not in facts["limits"])]
    rows = Table("network", "selection accuracy", *shown)
    for found in [facts["best"]] if len(facts["objectives"]) == 1 else facts["front"]:
        costs = [format_cost(found["costs"][name], name) for name in shown]
        rows.add_row(found["key"], f"{found['accuracy']:.2%}", *costs)
    console.print(rows)


def print_candidates(facts: Mapping[str, Any], *, explain: bool = False) -> None:
    """Candidates of a search by predictor alone."""
    limits, console = facts["limits"], Console()
    for name, limit in limits.items():
        console.print(f"{name} <= {format_cost(limit, name)}", highlight=False)
    if several := "winners" in facts:
        _print_devices(facts, console)
    beside = "peak_memory" in limits and facts["memory_plan"] != "naive"  # what a device without this plan would need
    intervals = {} if facts["confidence"] is None else facts["confidence"]["intervals"]
    title = "candidates that keep all limits" if several else None
    table = Table("network", "predicted accuracy", *limits, *(["naive plan"] if beside else []), title=title)
    for candidate in facts["candidates"]:
        costs = [_told(candidate, name, intervals.get(name)) for name in limits]
        costs += [format_cost(candidate["naive_peak_memory"], "peak_memory")] if beside else []
        table.add_row(candidate["key"], _accuracy(candidate["predicted_accuracy"]), *costs)
    if facts["candidates"]:
        console.print(table)
    if (asked := facts["confidence"]) is not None and asked["upper"]:
        worst = ", ".join(f"{name} {factor - 1:+.1%}" for name, factor in asked["upper"].items())
        rejected = f"; {asked['num_rejected']} were measured and are over" if asked["measured_here"] else ""
        console.print(
            f"limits hold with {asked['confidence']:.4g} confidence for networks like those the tables were graded on: "
            f"measured over predicted at most {worst}{rejected}",
            highlight=False,
        )
    if (published := facts["predictor"]["published"]) is not None:
        console.print(f"{published['file']}: {published['note']}; no interval is known", highlight=False)
    for device, about in facts["devices"].items():
        if about["published"] is not None:
            console.print(f"{device}: {about['published']['note']}; {_error(about['published'])}", highlight=False)
    if explain:
        explained = {"all": facts} if facts["candidates"] else {}
        for name, part in (facts.get("winners", {}) | explained).items():
            title = f"{name}: {part['candidates'][0]['key']}" if several else part["candidates"][0]["key"]
            print_contributions(title, {cost: part["contributions"][cost] for cost in part["limits"]})
            print_effects(title, {cost: part["gene_effects"][cost] for cost in part["limits"]})


def _print_devices(facts: Mapping[str, Any], console: Console) -> None:
    """The winner of every device, beside the network that serves all."""
    best = [(device, part["winner"], part["limits"]) for device, part in facts["winners"].items()]
    if facts["universal"] is not None:
        best.append(("universal", facts["candidates"][0], facts["limits"]))
    table = Table(Column("device", no_wrap=True), "network", "predicted accuracy", *facts["limits"])
    for name, network, kept in best:
        costs = [
            format_cost(network["predicted_costs"][cost], cost) if cost in kept else f"({format_cost(value, cost)})"
            for cost in facts["limits"]
            for value in [network["predicted_costs"][cost]]
        ]
        table.add_row(name, network["key"], _accuracy(network["predicted_accuracy"]), *costs)
    console.print(table)
    if facts["universal"] is not None:
        console.print(_losses(facts["universal"]), highlight=False)
    else:
        console.print(f"no network serves all: {facts['clash']['message']}", highlight=False)
    front = facts["front"]
    shown = len(front["networks"])
    part = f", {shown} of them in the JSON" if shown < front["num"] else ""
    console.print(f"{front['num']} networks trade accuracy and these costs off{part} (--json: front)", highlight=False)


def _losses(universal: Mapping[str, Any]) -> str:
    lost = ", ".join(f"{loss:.2%} on {device}" for device, loss in universal["losses"].items())
    return f"the universal network {universal['key']} loses to the device's own winner: {lost}"


def _error(origin: Mapping[str, Any]) -> str:
    """What is known of the error of a table that was not measured here."""
    if (checked := origin.get("checked")) is None:
        return "its error is not known"
    return f"largest error on {checked['num']} whole networks {checked['largest_error']:.2%}"


def print_contributions(title: str, costs: Mapping[str, list[dict[str, Any]]]) -> None:
    """What every slot of a network adds to each of its costs."""
    names = list(costs)
    slots = list(dict.fromkeys(entry["slot"] for name in names for entry in costs[name]))
    values = {name: {entry["slot"]: entry["value"] for entry in costs[name]} for name in names}
    table = Table("slot", *names, title=title)
    for slot in slots:
        table.add_row(slot, *(format_cost(values[name][slot], name) if slot in values[name] else "" for name in names))
    Console().print(table)


def print_effects(title: str, costs: Mapping[str, Mapping[str, Any]]) -> None:
    """What every gene's choice costs, compared with the cheapest network: from its cost to this network's."""
    table = Table("gene", "option", *costs, title=f"{title}: what its genes cost beyond the cheapest network")
    table.add_row("cheapest", "", *(format_cost(found["reference"]["cost"], name) for name, found in costs.items()))
    by_gene = {name: {entry["gene"]: entry for entry in found["genes"]} for name, found in costs.items()}
    options = {gene: entry["option"] for entries in by_gene.values() for gene, entry in entries.items()}
    for gene, option in options.items():
        cells = []
        for name, entries in by_gene.items():
            entry = entries.get(gene)
            cells.append("" if entry is None else f"{_signed(entry['effect'], name)} (from {entry['reference']})")
        table.add_row(gene, str(option), *cells)
    if any(found["slot"] is not None for found in costs.values()):  # a maximum: told where it is reached
        places = (
            "" if found["slot"] is None else f"{_signed(found['elsewhere'], name)} (peak in {found['slot']})"
            for name, found in costs.items()
        )
        table.add_row("other place", "", *places)
    table.add_row("this network", "", *(format_cost(found["cost"], name) for name, found in costs.items()))
    Console().print(table)


def _signed(value: float, cost: str) -> str:
    return f"{'-' if value < 0 else '+'}{format_cost(abs(value), cost)}"


def _told(candidate: Mapping[str, Any], name: str, interval: list[float] | None) -> str:
    """A cost as measured; else as predicted, with its interval."""
    if (measured := candidate["measured"].get(name)) is not None:
        if "value" in measured:
            return f"{format_cost(measured['value'], name)} (as compiled)"
        return f"{format_cost(measured['median_ms'], name)} (measured)"
    predicted = candidate["predicted_costs"][name]
    told = format_cost(predicted, name)
    if interval is None:
        return told
    low, high = (format_cost(factor * predicted, name) for factor in interval)
    return f"{told} ({low} to {high})"


def _accuracy(prediction: Mapping[str, float]) -> str:
    if "lower" not in prediction:
        return f"{prediction['mean']:.2%}"
    return f"{prediction['mean']:.2%} ({prediction['lower']:.2%} to {prediction['upper']:.2%})"
