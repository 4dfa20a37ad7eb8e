"""How far the numbers can be trusted: the latency table's own error, the predictor's grade, the training curves."""

from __future__ import annotations

from typing import Any

from ofa import text
from ofa.report.markup import Markup, join, tag
from ofa.report.plots import Axis, Point, agreement, curves

Report = dict[str, Any]


def tables_section(report: Report) -> Markup | None:
    """The certificate of every latency table."""
    if not report["devices"]:
        return None
    devices = report["devices"]
    parts = [
        _certificate(name, device, index) if device["published"] is None else _published_table(name, device)
        for index, (name, device) in enumerate(devices.items())
    ]
    measured = any(device["published"] is None for device in devices.values())
    intro = (
        "A network's latency is predicted from its operators, each measured alone. These random networks took no part "
        "in making the table: the distance from the diagonal is its error. The corridor is ±10 %."
    )
    return tag(
        "section",
        tag("h2", f"Can the {'latency ' if _only_latencies(devices) else ''}tables be trusted?"),
        tag("p", intro, class_="note") if measured else None,
        parts,
        id="tables",
    )


def _only_latencies(devices: Report) -> bool:
    return all(device["metric"] == "latency" for device in devices.values())


def predictor_section(report: Report) -> Markup | None:
    """The predictor's grade beside what trivial rules would give; and predictions that were checked afterwards."""
    predictor = report["predictor"]
    if predictor is None:
        return None
    checked, grade = _checked(predictor["checked"]), predictor["grade"]
    if grade is None:
        return _ungraded(predictor["published"], checked)
    level = f"{100 * grade['level']:.0f} %"
    intro = (
        f"Graded on {grade['num_heldout']} of {grade['num_records']} records, which took no part in fitting or "
        f"choosing the model. Intervals are at {level}, by bootstrap. Kendall's τ says how well networks are ranked: "
        f"1 is perfect, 0 is chance. {text.share(grade['coverage'], 0)} of the held-out accuracies lie inside their "
        "predicted intervals."
    )
    rows = [(f"{predictor['model']} (used)", grade["predictor"])]
    rows += [(f"{name} alone", score) for name, score in grade["baselines"].items()]
    head = ("predicts by", "Kendall's τ", "RMSE, accuracy points")
    body = [
        tag("tr", tag("td", name), tag("td", text.estimate(score["tau"])), tag("td", _points(score["rmse"])))
        for name, score in rows
    ]
    table = tag("table", tag("thead", tag("tr", [tag("th", name, scope="col") for name in head])), tag("tbody", body))
    return tag(
        "section",
        tag("h2", "Can the accuracy predictor be trusted?"),
        tag("p", intro, class_="note"),
        tag("div", tag("div", table, class_="scroll"), checked, class_="pair"),
        id="predictor",
    )


def _ungraded(published: Report, checked: Markup | None) -> Markup:
    """A published predictor: nothing here says how good it is but the predictions that were checked."""
    source = published["source"] or "source not stated"
    intro = (
        f"{published['file']} ({source}, {published['licence'] or 'licence not stated'}): {published['note']}. It is "
        "not graded, and no interval is known."
    )
    title = tag("h2", "Can the accuracy predictor be trusted?")
    return tag("section", title, tag("p", intro, class_="note"), checked, id="predictor")


def training_section(report: Report) -> Markup | None:
    training = report["training"]
    if not training["loss"] and not training["accuracy"]:
        return None
    figures = []
    for name, title, axis in (
        ("accuracy", "Selection accuracy", Axis("selection accuracy", "percent")),
        ("loss", "Training loss", Axis("loss, nats")),
    ):
        lines = {label: curve for label, curve in training[name].items() if curve}
        if lines:
            figures.append(curves(name=f"curves-{name}", title=title, axis=axis, curves=lines, caption=title))
    phases = ", ".join(f"{phase['name']} (from step {phase['step']})" for phase in training["phases"])
    note = f"Phases: {phases}." if len(training["phases"]) > 1 else None
    return tag(
        "section",
        tag("h2", "Training the supernet"),
        tag("p", note, class_="note") if note else None,
        tag("div", figures, class_="pair"),
        id="training",
    )


def _certificate(name: str, device: Report, index: int) -> Markup:
    heldout, machine = device["heldout"], device["machine"]
    points = [
        Point(
            pair["measured_ms"],
            pair["predicted_ms"],
            f"network {pair['key']}\npredicted {text.milliseconds(pair['predicted_ms'])}\n"
            f"measured {text.milliseconds(pair['measured_ms'])} (off by "
            f"{100 * (pair['predicted_ms'] / pair['measured_ms'] - 1):+.1f} %)",
        )
        for pair in heldout["pairs"]
    ]
    chart = agreement(
        name=f"certificate-{index}",
        title=f"Latency on {name}: predicted against measured",
        axis=Axis("latency (ms)"),
        points=points,
        band=0.1,
    )
    tau = heldout["kendall_tau"]
    facts = [
        ("mean absolute error", text.share(heldout["mape"], 1)),
        ("within 10 %", text.share(heldout["share_within_10"], 0)),
        ("Kendall's τ", "–" if tau is None else f"{tau:.2f}"),
        ("networks", str(heldout["num"])),
        ("operators measured", str(device["num_operators"])),
        ("processor", f"{machine['cpu']}, {machine['threads']} of {machine['cores']} threads"),
        ("runtime", f"{machine['runtime']} {machine['runtime_version']}, {machine['precision']}"),
        ("measured", f"{device['created']}, {text.share(device['conditions']['disturbed'], 1)} of samples disturbed"),
    ]
    facts[5:5] = _range(device)
    return join(tag("h3", name), tag("div", chart, _facts(facts), class_="pair"))


def _published_table(name: str, device: Report) -> Markup:
    """A table without a certificate: what is known is who says so."""
    published = device["published"]
    facts = [
        ("error", _error(published)),
        ("metric", device["metric"]),
        ("device", published["device"]),
        ("operators", str(device["num_operators"])),
        *_range(device),
        ("what", published["source"]["title"]),
        ("from", published["source"]["where"]),
        ("licence", published["licence"]),
        *published.get("provenance", {}).items(),
    ]
    return join(tag("h3", name), _facts(facts))


def _range(device: Report) -> list[tuple[str, str]]:
    if device["range"] is None:
        return []
    low, high = device["range"]
    return [("range of the space", f"{text.cost(low, device['metric'])} to {text.cost(high, device['metric'])}")]


def _error(published: Report) -> str:
    """What is known of the error of a table that was not measured here."""
    checked = published.get("checked")
    if checked is None:
        return f"not known: {published['note']}"
    return f"at most {text.share(checked['largest_error'], 2)} on {checked['num']} whole networks: {published['note']}"


def _facts(facts: list[tuple[str, str]]) -> Markup:
    rows = [tag("tr", tag("th", label, scope="row"), tag("td", value, class_="text")) for label, value in facts]
    return tag("table", tag("tbody", rows))


def _checked(checked: list[Report]) -> Markup | None:
    if len(checked) < 2:
        return None
    points = [accuracy_point(entry["key"], entry["accuracy"], entry["predicted"]) for entry in checked]
    return agreement(
        name="checked",
        title="Accuracy of the search's candidates: predicted against evaluated",
        axis=Axis("accuracy", "percent"),
        points=points,
        caption="The search's candidates, predicted before they were evaluated; bars are the predicted intervals.",
    )


def accuracy_point(key: str, accuracy: float, predicted: Report) -> Point:
    """A network whose accuracy was predicted, and then found."""
    tip = (
        f"network {key}\npredicted {text.share(predicted['mean'])} ({text.interval(predicted)})\n"
        f"evaluated {text.share(accuracy)}"
    )
    return Point(accuracy, predicted["mean"], tip, predicted.get("lower"), predicted.get("upper"))


def _points(rmse: Report) -> str:
    value, lower, upper = (100 * rmse[key] for key in ("value", "lower", "upper"))
    return f"{value:.2f} ({lower:.2f} to {upper:.2f})"
