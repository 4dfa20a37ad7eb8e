"""The end of the page: the data's splits, how to get the same again, and every record as a table."""

from __future__ import annotations

from typing import Any

import yaml

from ofa import text
from ofa.report.markup import Markup, tag

Report = dict[str, Any]

_ROLES = {
    "train": "the supernet is trained on it",
    "calibration": "batch-norm statistics of every subnet",
    "selection": "accuracies that networks are chosen by",
    "test": "read once per final network, at the end",
}


def data_section(report: Report) -> Markup | None:
    data = report["data"]
    if data is None:
        return None
    head, imported = ("split", "images", "what for", "sha256"), data["imported"]
    roles = {**_ROLES, "train": "the supernet was not trained on it, but imported"} if imported else _ROLES
    rows = [
        tag(
            "tr",
            tag("td", split["split"]),
            tag("td", "–" if split["images"] is None else f"{split['images']:,}"),
            tag("td", roles.get(split["split"], ""), class_="text"),
            tag("td", tag("code", str(split["sha256"])[:16], title=str(split["sha256"])), class_="hash"),
        )
        for split in data["splits"]
    ]
    table = tag("table", tag("thead", tag("tr", [_heading(name) for name in head])), tag("tbody", rows))
    source = f"The supernet was imported from {imported['file']}, sha256 {imported['sha256']}." if imported else None
    note = tag("p", source, class_="note hash") if source else None
    return tag("section", tag("h2", "Data"), note, tag("div", table, class_="scroll"), id="data")


def reproduce_section(report: Report) -> Markup:
    facts = report["reproduce"]
    config = yaml.safe_dump(facts["config"], sort_keys=False, allow_unicode=True)
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    weights = facts["weights_sha256"]
    return tag(
        "section",
        tag("h2", "The same again"),
        tag("p", "Save this as ", tag("code", "config.yaml"), " and run:"),
        tag("pre", tag("code", facts["command"])),
        tag("details", tag("summary", "config.yaml"), tag("pre", tag("code", config))),
        tag("p", f"Made with {versions}.", class_="note"),
        tag("p", f"Supernet weights: {weights}", class_="note hash") if weights else None,
        tag("p", "Beside another run: ", tag("code", "ofa report --compare RUN OTHER"), class_="note"),
        id="reproduce",
    )


def records_section(report: Report) -> Markup | None:
    """Every record: the table behind the dots."""
    records = report["records"]
    if not records:
        return None
    devices = [name for name, device in report["devices"].items() if device["metric"] == "latency"]
    head = [
        "subnet",
        "origin",
        "selection accuracy",
        *(f"predicted on {device}" for device in devices),
        "MACs",
        "parameters",
    ]
    rows = [
        tag(
            "tr",
            tag("td", tag("code", record["key"])),
            tag("td", record["origin"]),
            tag("td", text.share(record["accuracy"])),
            *(tag("td", text.milliseconds(record["latency"].get(device))) for device in devices),
            tag("td", text.count(record["macs"], "macs")),
            tag("td", text.count(record["params"], "params")),
        )
        for record in records
    ]
    table = tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])), tag("tbody", rows))
    return tag(
        "section",
        tag("h2", "All records"),
        tag("details", tag("summary", f"{len(records)} evaluated subnets"), tag("div", table, class_="scroll")),
        id="records",
    )


def _heading(name: str) -> Markup:
    return tag("th", name, scope="col", class_="text" if name == "what for" else None)
