"""The latency of exported files, each by its own runtime on this machine, all of them beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latency_tables.measure import measure_calls, this_device
from latency_tables.one_sample import Call
from latency_tables.settings import DeviceSettings
from ofa.export.failures import reason_of
from ofa.export.forms.base import Form, Timed
from ofa.export.forms.registry import get_form
from ofa.export.journal import find_measured
from ofa.versions import installed_version
from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, digest

#: one thread, and not long: it is one of an export's last steps. A machine that stays busy is an answer, too
HERE = DeviceSettings(name="here", runtime="torch", rounds=15, instances=2, patience_s=5.0, time_budget_s=30.0)


def time_forms(
    digests: Mapping[str, str],
    folder: Path,
    *,
    input_shape: tuple[int, int, int],
    device: DeviceSettings = HERE,
    journal: Path | None = None,
) -> dict[str, dict[str, Any] | None]:
    """By form of `digests` (form -> SHA-256 of its file in `folder`): the latency of one image of `input_shape`,
    {"median_ms", "p10_ms", "p90_ms", "count", "threads"}.

    All forms that are `Timed` run in the same rounds. None for those that are for other machines; where the machine
    is busy or a file cannot be prepared, {"not_measured", "threads"} says why. With a `journal` (JSON lines) a file is
    measured once, whatever interrupts the export after.
    """
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(digests)
    wanted: dict[str, tuple[Timed, str]] = {}
    prepared: dict[str, Call] = {}
    machine = this_device(device)[1].model_dump()
    for name, sha256 in digests.items():
        form = get_form(name)
        if not isinstance(form, Timed):
            continue
        key = digest([name, sha256, list(input_shape), device.model_dump(mode="json"), machine, _versions(form)])
        found[name] = None if journal is None else find_measured(journal, key)
        if found[name] is None:
            try:
                prepared[name] = form.prepare(folder, input_shape, threads=device.threads)
                prepared[name]()
            except Exception as error:  # every runtime has errors of its own
                found[name] = _not_measured(f"its runtime does not take it: {reason_of(error)}", device)
            else:
                wanted[name] = form, key
    if not wanted:
        return found

    def prepare() -> list[Call]:
        # the calls that were tried out are the first of `device.instances`
        return [
            prepared.pop(name) if name in prepared else form.prepare(folder, input_shape, threads=device.threads)
            for name, (form, _) in wanted.items()
        ]

    try:
        measured = measure_calls(prepare, len(wanted), device)
    except UserError as error:
        busy = "machine busy" if error.key == "max_other_load" else "machine too restless"
        return found | {name: _not_measured(busy, device) for name in wanted}
    for (name, (_, key)), times in zip(wanted.items(), measured, strict=True):
        entry = {**vars(times), "threads": device.threads}
        found[name] = entry
        if journal is not None:
            append_line(journal, {"key": key, "form": name, "sha256": digests[name], "measured": entry})
    return found


def _versions(form: Form) -> dict[str, str | None]:
    """Of what runs the file: another release is another device."""
    return {package: installed_version(package) for package in form.requires}


def _not_measured(why: str, device: DeviceSettings) -> dict[str, Any]:
    return {"not_measured": why, "threads": device.threads}
