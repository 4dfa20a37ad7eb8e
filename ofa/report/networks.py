"""What each winner looks like: layer by layer, with its part of the latency; its files; how it was found."""

from __future__ import annotations

from typing import Any

from ofa import text
from ofa.report.marks import swatch
from ofa.report.markup import Markup, tag
from ofa.report.plots import place
from ofa.report.words import operator_words

Report = dict[str, Any]


def networks_section(report: Report) -> Markup | None:
    """The winners' tables, files and stories; above them what the script draws of any network that is chosen."""
    if not report["winners"] and not report["records"]:
        return None
    return tag(
        "section",
        tag("h2", "A network, layer by layer"),
        _diagram([winner["budget"] for winner in report["winners"]]),
        [_network(index, winner) for index, winner in enumerate(report["winners"])],
        id="networks",
    )


def _diagram(winners: list[str]) -> Markup:
    """Filled by the script: buttons for the winners, a field for any other network's key, blocks and bars."""
    buttons = [
        tag("button", swatch(index), " ", name, type="button", data_winner=str(index), aria_pressed="false")
        for index, name in enumerate(winners)
    ]
    note = (
        "Choose a winner, click a dot above, or type a network's key. Blocks stand from the input to the output; their "
        "height is the number of channels. The bars below are what each of them costs."
    )
    return tag(
        "div",
        tag("p", note, class_="note"),
        tag("div", buttons, class_="chooser", role="group", aria_label="Choose a winner") if buttons else None,
        tag(
            "label",
            "Network ",
            tag("input", name="key", list="keys", autocomplete="off", spellcheck="false", size=14),
            tag("datalist", id="keys"),
            class_="key-field",
        ),
        tag("p", class_="chosen note", aria_live="polite"),
        place(name="layer-diagram", label="Diagram of the chosen network; the table below it holds the same numbers."),
        tag("details", tag("summary", "These layers as a table"), tag("div", class_="table scroll")),
        id="layers",
        hidden=True,
    )


def _network(index: int, winner: Report) -> Markup:
    devices = list(dict.fromkeys(device for layer in winner["layers"] for device in layer["latency"]))
    limited = [name.partition("@")[2] for name in winner["limits"] if "@" in name]
    device = next((name for name in limited if name in devices), devices[0] if devices else None)
    return tag(
        "article",
        tag("h3", swatch(index), f" {winner['budget']}: {winner['key']}"),
        tag("p", _story(winner), class_="note"),
        _layers(winner, device),
        _files(winner),
        tag("details", tag("summary", "Architecture"), tag("pre", tag("code", _architecture(winner["architecture"])))),
        class_="network",
        data_winner=str(index),
    )


def _story(winner: Report) -> str:
    search, costs = winner["search"], winner["costs"]
    side = winner["architecture"].get("resolution")
    sentence = (
        f"Input {side} × {side}. {text.count(costs['macs'], 'macs')}, {text.count(costs['params'], 'params')} "
        f"parameters, {text.size(costs['peak_memory'])} of activations at most and {text.size(costs['flash'])} of "
        "weights in float32. "
        f"Found by {search['algorithm']} search over {search['num_scored']:,} networks; of {search['num_candidates']} "
        f"candidates that were measured, {search['num_rejected']} broke the budget."
    )
    finetuning = (winner["export"] or {}).get("finetuning")
    if finetuning is not None:
        kept = "kept" if finetuning["kept"] else "discarded"
        sentence += (
            f" Fine-tuned for {finetuning['epochs']} epochs: selection accuracy {text.share(finetuning['before'])} "
            f"before, {text.share(finetuning['after'])} after; {kept}."
        )
    return sentence


def _layers(winner: Report, device: str | None) -> Markup:
    head = ["layer", "operator", "channels", "map", "MACs", *([f"latency on {device}", "share"] if device else [])]
    headings = [tag("th", name, scope="col", class_="text" if name == "operator" else None) for name in head]
    rows = [_layer(layer, device) for layer in winner["layers"]]
    table = tag("table", tag("thead", tag("tr", headings)), tag("tbody", rows), class_="layers")
    return tag("div", table, class_="scroll")


def _layer(layer: Report, device: str | None) -> Markup:
    cells = [tag("td", layer["slot"])]
    if "operator" in layer:
        sides = f"{layer['resolution']} → {layer['output_resolution']}"
        cells += [
            tag("td", operator_words(layer), class_="text"),
            tag("td", f"{layer['in_channels']} → {layer['out_channels']}"),
            tag("td", sides if layer["resolution"] != layer["output_resolution"] else str(layer["resolution"])),
            tag("td", text.count(layer["macs"], "macs")),
        ]
    else:
        cells += [tag("td", "calls and correction, no layer's own", class_="text"), tag("td"), tag("td"), tag("td")]
    if device is not None:
        part = layer["latency"].get(device, {"ms": 0.0, "share": 0.0})
        cells += [tag("td", text.milliseconds(part["ms"])), tag("td", text.share(part["share"], 1))]
    return tag("tr", cells)


def _files(winner: Report) -> Markup | None:
    export = winner["export"]
    if export is None:
        return None
    head = ("file", "size", "largest difference", "sha256")
    rows = [
        tag(
            "tr",
            tag("td", tag("code", f"{export['folder']}/{form['file']}")),
            tag("td", text.size(form["bytes"])),
            tag("td", _difference(form)),
            tag("td", tag("code", form["sha256"][:16], title=form["sha256"]), class_="hash"),
        )
        for form in export["forms"].values()
    ]
    table = tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])), tag("tbody", rows))
    return tag("div", table, class_="scroll")


def _architecture(values: Report) -> str:
    import json

    return "\n".join(f"{name}: {json.dumps(value)}" for name, value in values.items())


def _difference(form: dict[str, Any]) -> str:
    """How far an exported file is from the network."""
    ties = form.get("num_ties", 0)
    text = f"{form['max_abs']:.1e} on {form['num_images'] - ties} images"
    if moved := form.get("num_moved", 0):
        text += f", {moved} in another class"
    return f"{text}; on {ties} rounding chose other tokens" if ties else text
