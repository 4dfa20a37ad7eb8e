"""Sections of a model card: latency, memory, boards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latency_tables.remote.on_device.device import cpu_model
from ofa import text
from ofa.export.card.facts import CardFacts, DeviceFacts
from ofa.export.card.markdown import bullets, code, escape, section, table
from ofa.export.card.scores import Report, accuracy_text, known


def latency_section(report: Report, facts: CardFacts) -> str | None:
    rows = [_device_row(name, found, facts.devices.get(name)) for name, found in report["latency"].items()]
    timed = [row for name, form in report["forms"].items() if (row := _timed_row(name, form)) is not None]
    if not rows and not timed:
        return None
    head = ["device", "measured is", "predicted", "measured", "10th to 90th percentile"]
    devices = table(head, rows, left=2) if rows else None
    machines = [
        f"{escape(name)}: {escape(found.machine)}{_interval_text(found)}" for name, found in facts.devices.items()
    ]
    files = table(["file", "threads", "measured", "10th to 90th percentile"], timed) if timed else None
    here = f"The files, each by its own runtime, on the machine that exported them ({escape(cpu_model())}):"
    if (why := _none_measured(report)) is not None:
        here, files = f"The files by their own runtimes were not measured: {escape(why)}.", None
    told = "One image at a time (batch 1). Measured are medians of the exported network; predicted is what the search "
    told += "went by, from a table of operators measured on the device."
    return section("Latency", devices, bullets(machines) if machines else None, here if timed else None, files, told)


def _device_row(name: str, found: Mapping[str, Any], facts: DeviceFacts | None) -> list[str]:
    predicted = text.milliseconds(found["predicted_ms"])
    if found["predicted_ms"] is not None and facts is not None and facts.interval is not None:
        low, high = (factor * found["predicted_ms"] for factor in facts.interval)
        predicted += f" ({low:.4g} to {high:.4g})"
    measured = found["measured"]
    if not measured:
        return [escape(name), "–", predicted, "not measured", "–"]
    of = code(measured["form"]) if measured.get("form") else "the network in torch"
    return [escape(name), of, predicted, text.milliseconds(measured["median_ms"]), _spread(measured)]


def _interval_text(facts: DeviceFacts) -> str:
    if facts.interval is None:
        return ". The table was graded on too few networks for an interval of its predictions."
    return (
        f". The interval of predictions holds with {100 * facts.confidence:g} % for networks drawn at random "
        f"(split conformal, {facts.num_graded} measurements of whole networks)."
    )


def _timed_row(name: str, form: Mapping[str, Any]) -> list[str] | None:
    """The latency of a form's own file; None where it is for another machine, or was not to be measured."""
    found = form.get("latency")
    if not isinstance(found, Mapping):
        return None
    threads = str(found.get("threads", 1))
    if "median_ms" not in found:
        return [code(name), threads, escape(f"not measured: {found.get('not_measured', 'no reason known')}"), "–"]
    return [code(name), threads, text.milliseconds(found["median_ms"]), _spread(found)]


def _none_measured(report: Report) -> str | None:
    """Why no file was measured, where all have the same reason."""
    found = [form["latency"] for form in report["forms"].values() if isinstance(form.get("latency"), Mapping)]
    reasons = {entry.get("not_measured") for entry in found}
    return str(reasons.pop()) if len(reasons) == 1 and None not in reasons else None


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['p10_ms']:.4g} to {found['p90_ms']:.4g} ms"


def memory_section(report: Report) -> str:
    costs = report["costs"]
    rows = [
        ["parameters", text.count(costs["params"], "params")],
        ["multiply-accumulates of one image", text.count(costs["macs"], "macs")],
        ["weights in float32", text.size(costs["flash"])],
        ["activations at most, in float32", text.size(costs["peak_memory"])],
    ]
    micro = (report["forms"].get("tflm") or {}).get("micro")
    if micro:
        arena = micro["arena_head_bytes"] + micro["arena_tail_bytes"]
        rows.append([f"arena of TensorFlow Lite Micro {escape(micro['version'])}, int8", text.size(arena)])
    told = "Computed from the architecture; activations are those of the largest layer, its input and output together. "
    told += "A runtime takes more: its own code, and whatever it plans around."
    return section("Memory", table(["", "this network"], rows), told)


def boards_section(report: Report) -> str | None:
    boards = report.get("boards") or {}
    if not boards:
        return None
    head = ["board", "accuracy in int8 (test)", "(selection)", "SRAM", "stack", "flash", "instructions of an inference"]
    rows, lines = [], []
    for name, found in boards.items():
        board, verified = found["board"], found["verified"]
        scores = [accuracy_text(known(found["accuracy"].get(split))) for split in ("test", "selection")]
        sram, stack, flash = (_of(verified, key) for key in ("sram", "stack", "flash"))
        rows.append([escape(name), *scores, sram, stack, flash, f"{verified['instructions']:,}"])
        lines.append(
            f"{escape(name)} is {escape(board['title'])}. Its bundle of C with instructions: "
            f"[{found['folder']}/README.md]({found['folder']}/README.md). Run on an emulated board "
            f"({escape(verified['emulator'])}, {escape(verified['compiler'])}): {verified['num_golden']} images, bit "
            "for bit. Instructions are not cycles: clocks, caches and flash wait states are not emulated."
        )
    return section("Boards", table(head, rows), bullets(lines))


def _of(verified: Mapping[str, Any], what: str) -> str:
    found, size = verified[f"{what}_bytes"], verified[f"{what}_size"]
    return "–" if found is None else f"{text.size(found)} of {text.size(size)}"
