"""The latency of an export, measured on the device: of the file where the runtime takes files, else of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.fx import GraphModule

from latency_tables.measure import measure_networks, measure_onnx_files, this_device
from latency_tables.settings import DeviceSettings
from ofa.export.forms.registry import get_form
from ofa.export.journal import find_measured
from search_spaces.common.files import append_line, digest, file_digest

#: A network alone is measured in a moment, which a burst of other work can fill: the middle one of several is reported.
_SETS = 5


def remeasure(
    network: GraphModule,
    *,
    network_sha256: str,
    input_shape: tuple[int, int, int],
    folder: Path,
    forms: tuple[str, ...],
    device: DeviceSettings,
    journal: Path | None = None,
) -> dict[str, Any]:
    """{"median_ms", "p10_ms", "p90_ms", "count", "form"}; `form` is null where the network in memory was measured.

    With a `journal` (JSON lines) a network (where its file is measured, that file) is measured once per device and
    settings, whatever interrupts the export after.
    """
    form = "onnx" if device.runtime == "onnxruntime" and "onnx" in forms else None
    machine = this_device(device)[1].model_dump()
    path = None if form is None else folder / get_form(form).file
    file = None if path is None else file_digest(path)
    key = digest([network_sha256, list(input_shape), file, device.model_dump(mode="json"), machine])
    known = None if journal is None else find_measured(journal, key)
    if known is not None:
        return known
    sets = []
    for _ in range(_SETS):
        if path is None:
            sets += measure_networks([network], [input_shape], device)
        else:
            sets += measure_onnx_files([path], device)
    measured = sorted(sets, key=lambda found: found.median_ms)[_SETS // 2]
    entry = {
        "median_ms": measured.median_ms,
        "p10_ms": measured.p10_ms,
        "p90_ms": measured.p90_ms,
        "count": measured.count,
        "form": form,
    }
    if journal is not None:
        append_line(journal, {"key": key, "device": device.name, "network_sha256": network_sha256, "measured": entry})
    return entry
