"""What each winner looks like: layer by layer, with its part of the latency; its files; how it was found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ofa.report import text
from ofa.report.markup import Markup, join, tag
from ofa.report.tradeoff import swatch

Report = dict[str, Any]


def networks_section(report: Report) -> Markup | None:
    if not report["winners"]:
        return None
    buttons = [
        tag("button", swatch(index), " ", winner["budget"], type="button", data_winner=str(index), aria_pressed="false")
        for index, winner in enumerate(report["winners"])
    ]
    return tag(
        "section",
        tag("h2", "The networks, layer by layer"),
        tag("div", buttons, class_="chooser", role="group", aria_label="Choose a winner", hidden=True),
        [_network(index, winner) for index, winner in enumerate(report["winners"])],
        id="networks",
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
    most = max((_share(layer, device) for layer in winner["layers"]), default=0.0) or 1.0
    head = ["layer", "operator", "channels", "map", "MACs"]
    headings = [tag("th", name, scope="col", class_="text" if name == "operator" else None) for name in head]
    if device is not None:
        headings += [
            tag("th", "latency", scope="col"),
            tag("th", f"share of latency on {device}", scope="col", class_="text"),
        ]
    rows = [_layer(layer, device, most) for layer in winner["layers"]]
    legend = [
        tag(
            "li",
            tag(
                "svg",
                tag("rect", width=12, height=12, class_=f"kernel-{name}"),
                viewBox="0 0 12 12",
                class_="swatch",
                aria_hidden="true",
            ),
            label,
        )
        for name, label in (("3", "kernel 3"), ("5", "kernel 5"), ("7", "kernel 7"), ("none", "other"))
    ]
    table = tag("table", tag("thead", tag("tr", headings)), tag("tbody", rows), class_="layers")
    return join(tag("ul", legend, class_="legend") if device is not None else None, tag("div", table, class_="scroll"))


def _layer(layer: Report, device: str | None, most: float) -> Markup:
    cells = [tag("td", layer["slot"])]
    if "operator" in layer:
        sides = f"{layer['resolution']} → {layer['output_resolution']}"
        cells += [
            tag("td", _operator(layer), class_="text"),
            tag("td", f"{layer['in_channels']} → {layer['out_channels']}"),
            tag("td", sides if layer["resolution"] != layer["output_resolution"] else str(layer["resolution"])),
            tag("td", text.count(layer["macs"], "macs")),
        ]
    else:
        cells += [tag("td", "calls and correction, no layer's own", class_="text"), tag("td"), tag("td"), tag("td")]
    if device is not None:
        part = layer["latency"].get(device, {"ms": 0.0, "share": 0.0})
        cells += [tag("td", text.milliseconds(part["ms"])), tag("td", _bar(layer, part["share"], most), class_="bar")]
    return tag("tr", cells)


def _operator(layer: Report) -> str:
    """`MBConv 5×5, expand ×4, SE` or `attention hilo, 3 heads, rank 12` from an operator's fields, whatever the
    family.
    """
    options = layer["options"]
    parts = []
    kernel = options.get("kernel_size")
    if kernel is not None:
        parts.append(f"{kernel}×{kernel}")
    mid = options.get("mid_channels")
    if mid is not None and options.get("expansion"):
        parts.append(f"expand ×{mid / layer['in_channels']:.2g}")
    if options.get("stride", 1) != 1:
        parts.append(f"stride {options['stride']}")
    if options.get("se_channels"):
        parts.append("SE")
    if options.get("residual"):
        parts.append("residual")
    parts += _of_transformers(layer["kind"], layer["in_channels"], options)
    return f"{layer['kind']} {', '.join(parts)}".strip()


def _of_transformers(kind: str, width: int, options: Report) -> Iterator[str]:
    if "patch" in options:
        yield f"{options['patch']}×{options['patch']}"
    if "form" in options:
        yield str(options["form"])
    if options.get("heads"):
        yield f"{options['heads']} heads"
    if kind == "mlp":
        yield f"expand ×{options['mid_channels'] / width:.2g}"
    if options.get("rank"):
        yield f"rank {options['rank']}"
    if options.get("drops"):
        yield f"drops {options['drops']} tokens"


def _bar(layer: Report, share: float, most: float) -> Markup:
    kernel = layer.get("options", {}).get("kernel_size", "none")
    known = kernel if kernel in (3, 5, 7) else "none"
    width = max(round(100 * share / most, 2), 0.0)  # a correction of the sum may be negative
    return tag(
        "svg",
        tag("rect", x=0, y=3, width=width, height=12, rx=1.5, class_=f"kernel-{known}"),
        viewBox="0 0 100 18",
        preserveAspectRatio="none",
        role="img",
        aria_label=text.share(share, 1),
        data_tip=f"{layer['slot']}: {text.share(share, 1)} of the latency",
    )


def _share(layer: Report, device: str | None) -> float:
    return float(layer["latency"].get(device, {}).get("share", 0.0)) if device is not None else 0.0


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
