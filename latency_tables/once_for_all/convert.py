"""From the YAML files to a `PublishedTable`: every operator of the space found, every line used or told."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency_tables.identity import SpaceIdentity
from latency_tables.once_for_all.files import UNITS, LookupFile, Statistics, read_lookup
from latency_tables.once_for_all.operators import SPACES, operator_texts
from latency_tables.once_for_all.width import space_of
from latency_tables.published import NAME, PublishedEntry, PublishedTable, Source
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.settings import parse_settings

#: MACs per second that nothing which runs networks of this kind is slower or faster than, one image at a time: what is
#: outside was given in another unit
SLOWEST, FASTEST = 1e8, 2e12

#: two resolutions on one device do not differ by such a factor in MACs per second
_ALIKE = 30.0


@dataclass(frozen=True)
class Converted:
    """`unused`: by file, the lines that are no operator of the space."""

    table: PublishedTable
    space: SearchSpace
    unused: dict[str, list[str]]


def convert(
    paths: Sequence[Path | str],
    *,
    device: str,
    settings: Mapping[str, Any] | None = None,
    width_mult: float | None = None,
    unit: str | None = None,
    title: str | None = None,
    where: str = "not stated",
    licence: str = "not stated",
) -> Converted:
    """Convert the files of one device, each with the operators of one resolution or several.

    `settings` are those of the space (`get_space`; left out: the published one of the files' family). `unit` is what
    the values are in: left out, it is what the files say, else ms if they can be ms. Raises `UserError` for files
    that do not fit the form, the space or each other.
    """
    if not re.fullmatch(NAME, device):
        raise UserError("a device's name is letters, digits, dot, dash and underscore", key="--device", value=device)
    if unit is not None and unit not in UNITS:
        raise unknown_name("unit", unit, UNITS, key="--unit")
    files = [read_lookup(path) for path in paths]
    _check_alike(files)
    whole = space_of(files[0], settings or {"name": SPACES[files[0].family]}, width_mult)
    by_resolution = _by_resolution(files, whole)
    space = whole.restrict(resolution=sorted(by_resolution))
    entries, used = {}, {str(file.path): set[str]() for file in files}
    for resolution, file in sorted(by_resolution.items()):
        texts = operator_texts(space.restrict(resolution=[resolution]))
        _check_complete(file, texts, whole, resolution)
        factor = UNITS[_unit(file, unit) or "ms"]
        entries[resolution] = {
            key: _entry({text: file.lines[text] for text in parts}, factor, file) for key, parts in texts.items()
        }
        used[str(file.path)].update(text for parts in texts.values() for text in parts)
    table = PublishedTable(
        device=device,
        licence=licence,
        source=Source(
            title=title or f"Latency of the operators of {space.name} on {device}",
            where=where,
            files=_names(files),
        ),
        space=SpaceIdentity.of(space),
        entries=entries,
    )
    _check_speed(table, space, by_resolution, unit)
    unused = {str(file.path): [text for text in file.lines if text not in used[str(file.path)]] for file in files}
    return Converted(table, space, {path: texts for path, texts in unused.items() if texts})


def _names(files: Sequence[LookupFile]) -> dict[str, str]:
    """SHA-256 by file name; by folder and name where names repeat."""
    names = [file.path.name for file in files]
    unique = len(set(names)) == len(names)
    return {file.path.name if unique else f"{file.path.parent.name}/{file.path.name}": file.sha256 for file in files}


def _check_alike(files: Sequence[LookupFile]) -> None:
    """All files are of the same networks."""
    first = files[0]
    for file in files[1:]:
        if file.family != first.family:
            raise UserError(
                f"holds operators of the family {file.family!r}, but {first.path} those of {first.family!r}",
                file=file.path,
            )
        for kind, (inputs, outputs) in file.frame.items():
            if first.frame[kind] != (inputs, outputs):
                raise UserError(
                    f"is of other networks than {first.path}: {kind} has {inputs} and {outputs} channels here, "
                    f"{first.frame[kind][0]} and {first.frame[kind][1]} there",
                    file=file.path,
                )


def _by_resolution(files: Sequence[LookupFile], space: SearchSpace) -> dict[int, LookupFile]:
    found: dict[int, LookupFile] = {}
    options = set(space.genome.option_values("resolution").tolist())
    for file in files:
        for resolution in file.resolutions:
            if resolution in found:
                raise UserError(
                    f"holds the resolution {resolution}, which {found[resolution].path} holds too", file=file.path
                )
            if resolution not in options:
                raise UserError(
                    f"holds the resolution {resolution}, which is not one of {space.name!r}",
                    file=file.path,
                    hint=f"Resolutions of it: {', '.join(map(str, sorted(options)))}",
                )
            found[resolution] = file
    return found


def _check_complete(file: LookupFile, texts: Mapping[str, Sequence[str]], space: SearchSpace, resolution: int) -> None:
    wanted = list(dict.fromkeys(text for parts in texts.values() for text in parts))
    missing = [text for text in wanted if text not in file.lines]
    if missing:
        width = f" with width_mult {space.settings['width_mult']:g}" if "width_mult" in space.settings else ""
        raise UserError(
            f"{len(missing)} of {len(wanted)} operators of {space.name!r}{width} at resolution {resolution} are "
            f"missing: {', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}",
            file=file.path,
        )


def _unit(file: LookupFile, stated: str | None) -> str | None:
    """The unit of a file: said by the user, by the file, or by neither (None)."""
    if stated is not None and file.unit is not None and stated != file.unit:
        raise UserError(f"the file says that its unit is {file.unit}, not {stated}", file=file.path, key="--unit")
    return stated or file.unit


def _entry(parts: Mapping[str, Statistics], factor: float, file: LookupFile) -> PublishedEntry:
    """What consists of `parts` takes their sum; they were measured apart, so their variances add up."""
    values = {
        "mean_ms": factor * sum(part.mean for part in parts.values()),
        "std_ms": factor * math.hypot(*(part.std for part in parts.values())),
        "count": min(part.count for part in parts.values()),
    }
    return parse_settings(PublishedEntry, values, file=file.path, prefix=" and ".join(parts))


def _check_speed(table: PublishedTable, space: SearchSpace, files: Mapping[int, LookupFile], unit: str | None) -> None:
    """Latencies whose unit nobody said must be possible as ms, and those of all files must be of one unit."""
    speeds = {}
    for resolution, file in files.items():
        part = space.restrict(resolution=[resolution])
        cost, macs = table.cost(part), part.cost("macs")
        ms, row = cost.maximum()
        speeds[resolution] = speed = 1e3 * float(macs.evaluate(row[None])[0]) / ms
        if _unit(file, unit) is None and not SLOWEST <= speed <= FASTEST:
            raise UserError(
                f"these cannot be milliseconds: the slowest network at resolution {resolution} would take {ms:,.4g} "
                f"ms, which is {speed:.2g} multiply-accumulates a second",
                file=file.path,
                hint="Say the unit they are in with --unit us (or ns, s; ms if they are milliseconds all the same)",
            )
    slow, fast = min(speeds, key=lambda r: speeds[r]), max(speeds, key=lambda r: speeds[r])
    if speeds[fast] > _ALIKE * speeds[slow]:
        raise UserError(
            f"another unit than {files[fast].path}? Networks would be {speeds[fast] / speeds[slow]:,.0f} times slower, "
            "the number of multiply-accumulates taken into account",
            file=files[slow].path,
        )
