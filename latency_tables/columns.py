"""A table with further columns: the same operators beside busy processes, in the same file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from latency_tables.measure import measure_table
from latency_tables.settings import DeviceSettings
from latency_tables.table import LatencyTable
from search_spaces import SearchSpace


def measure_columns(
    space: SearchSpace,
    device: DeviceSettings,
    *,
    path: Path,
    beside: Sequence[int] = (),
    seed: int = 0,
    replace: bool = False,
    merge: Sequence[Path] = (),
) -> LatencyTable:
    """As `measure_table`, and then again beside each number of busy processes in `beside`: columns of the table.

    The table is written as soon as it is whole, and again with every column; a column that is measured stands in a
    file of its own until then, `path.with_suffix(".contentionK.json")`, with its own journal. What the runtime compiles
    serves all of them. A table that is finished gets only the columns it lacks.
    """
    folder = path.with_suffix(".compiled")
    table = measure_table(space, device, path=path, seed=seed, replace=replace, merge=merge, compiled=folder)
    for number in dict.fromkeys(beside):
        busy = device.model_copy(update={"contention": number})
        place = path.with_suffix(f".contention{number}.json")
        known = [column for column in table.contended if column.device.contention == number]
        if known and not replace:
            known[0].save(place)  # measured again only if it was measured otherwise
        column = measure_table(space, busy, path=place, seed=seed, replace=replace, compiled=folder)
        if [column.model_dump()] != [other.model_dump() for other in known]:
            table = table.with_column(column)
            table.save(path)
        place.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return table
