"""Sections of a model card: what the network is, its data, licences, what its figures do not say, how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ofa import text
from ofa.export.architecture_file import FILE, ArchitectureFile
from ofa.export.card.facts import CardFacts
from ofa.export.card.markdown import bullets, code, escape, fenced, section, table
from ofa.versions import versions

Report = Mapping[str, Any]

#: classes that are listed; the others are in the architecture file
MOST_CLASSES = 20


def title(report: Report, facts: CardFacts) -> str:
    """Of the network, in plain text."""
    name = str(report["name"])
    return name if facts.run is None else f"{facts.run.name}: {name}"


def summary(report: Report, described: ArchitectureFile, facts: CardFacts) -> str:
    costs, space, side = report["costs"], described.space, described.preprocessing.resolution
    colour = "grey" if described.preprocessing.in_channels == 1 else "colour"
    parts = [
        f"An image classifier: a {colour} picture of {side} × {side} pixels in, one of {space.num_classes:,} classes "
        f"out ({_classes(described)}). {text.count(costs['macs'], 'macs')}, {text.count(costs['params'], 'params')} "
        "parameters.",
        f"It is the network {code(report['key'])} of the search space {escape(space.name)} (family "
        f"{escape(space.family)}, {text.networks(space.size)} networks), cut out of one supernet that was trained for "
        f"all of them{_supernet(report)}.",
    ]
    if limits := (report.get("budget") or {}).get("limits"):
        kept = ", ".join(f"{escape(name)} ≤ {text.cost(limit, name)}" for name, limit in limits.items())
        parts.append(f"A search chose it as the most accurate one within {kept}.")
    if tuning := report.get("finetuning"):
        kept = "kept" if tuning["kept"] else "not kept"
        parts.append(
            f"It was then trained on alone for {tuning['epochs']:g} epochs: selection accuracy "
            f"{text.share(tuning['before'])} before, {text.share(tuning['after'])} after; {kept}."
        )
    return " ".join(parts)


def _classes(described: ArchitectureFile) -> str:
    names = described.class_names
    listed = ", ".join(escape(name) for name in names[:MOST_CLASSES])
    more = len(names) - MOST_CLASSES
    return listed if more <= 0 else f"{listed} and {more:,} more, in {code(FILE)} under `class_names`"


def _supernet(report: Report) -> str:
    sha256 = report.get("supernet_sha256")
    return f" (sha256 {code(sha256)})" if sha256 else ""


def data_section(facts: CardFacts) -> str:
    data = facts.data
    uses = {
        "train": "the supernet was trained on it",
        "calibration": "statistics of batch norms, ranges of integers",
        "selection": "networks and forms were compared on it",
        "test": "read once for each network, after everything was chosen",
    }
    rows = [
        [escape(split.name), uses.get(split.name, ""), code(split.sha256[:16]), f"{split.num_images:,}"]
        for split in data.splits
    ]
    return section(
        "Data",
        f"Data set: {escape(data.name)}. No image is in two splits; the sha256 (its beginning) is of which images a "
        "split holds.",
        table(["split", "use", "sha256", "images"], rows, left=3),
    )


def licence_section(facts: CardFacts) -> str:
    imported = facts.run.imported if facts.run is not None else None
    weights = escape(facts.licence) if facts.licence else "not stated: whoever publishes them chooses one"
    if imported:
        weights += (
            f". They began as the published weights {escape(imported.get('file'))}, whose licence goes on to hold"
        )
    data = escape(facts.data.licence) if facts.data.licence else "not stated: ask whoever gave you the images"
    return section(
        "Licences",
        bullets(
            [
                f"Weights: {weights}.",
                f"Data set {escape(facts.data.name)}: {data}.",
                "Some data licences bind what is trained on them (no commercial use, same licence): check before you "
                "publish.",
            ]
        ),
    )


def limits_section(report: Report, facts: CardFacts) -> str:
    lines = [
        "Accuracies are on images of the same source as the training images. Pictures of another camera, light or "
        "population can do worse, and what belongs to no class is put into one all the same.",
        "Intervals of accuracy say what another draw of test images could give, not what another training could.",
        "Selection accuracy is optimistic: the network was chosen by it.",
    ]
    if report["latency"]:
        lines.append(
            "Latencies are of the named machine and versions, when little else ran there. A search picks networks that "
            "a table thinks fast, so predictions can be off by more than for networks drawn at random; measured counts."
        )
    if any(form.get("signal_db") is not None for form in report["forms"].values()):
        lines.append("Forms in fewer bits are calibrated on images of this data set: other images can saturate them.")
    return section("What these figures do not say", bullets(lines))


def reproduction_section(report: Report, facts: CardFacts, *, requires: tuple[str, ...]) -> str:
    found = [f"{escape(name)} {escape(version)}" for name, version in versions(requires).items()]
    hashes = [["network (its tensors)", code(report["network_sha256"])]]
    if sha256 := report.get("supernet_sha256"):
        hashes.append(["supernet.safetensors", code(sha256)])
    if facts.run is not None and facts.run.config_sha256:
        hashes.append(["config.yaml of the run", code(facts.run.config_sha256)])
    hashes += [[code(form["file"]), code(form["sha256"])] for form in report["forms"].values()]
    return section(
        "How it was made",
        _commands(report, facts),
        f"With {', '.join(found)}.",
        table(["what", "sha256"], hashes, left=2),
        f"{code('report.json')} has every figure of this page, and the network layer by layer; {code(FILE)} has the "
        "architecture, preprocessing and class names for programs.",
    )


def _commands(report: Report, facts: CardFacts) -> str:
    if facts.run is None:
        return "Exported by a program through the library, not by a run."
    folder, forms = shlex.quote(f"runs/{facts.run.name}"), ",".join(report["forms"])
    lines = []
    if facts.run.imported:
        lines.append(f"ofa import checkpoint {shlex.quote(str(facts.run.imported['file']))} --config config.yaml")
    lines.append("ofa run config.yaml")
    budget = (report.get("budget") or {}).get("name")
    which = shlex.quote(str(budget)) if budget else FILE
    tuning = report.get("finetuning")
    if tuning and not budget:
        lines.append(f"ofa finetune {folder} {which} --epochs {tuning['epochs']:g}")
    tuned = " --finetuned" if tuning and not budget else ""
    board = ((report["forms"].get("mcu") or {}).get("needs") or {}).get("board")
    boards = f" --board {shlex.quote(board)}" if board else ""
    lines.append(f"ofa export {folder} {which} --format {forms}{boards}{tuned}")
    told = f"With the run's config.yaml (seed {facts.run.seed}):"
    shell = fenced("\n".join(lines), "sh")
    return f"{told}\n\n{shell}"
