"""The space that a file's operators are of: classes and input channels from its lines, the width from its channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from latency_tables.once_for_all.files import LookupFile
from latency_tables.once_for_all.operators import FIRST, FRAMES, LAST, operator_texts, parse_operator
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError

#: width multipliers are multiples of the first of these steps that fits
_STEPS = (0.05, 0.01, 0.001)


def space_of(file: LookupFile, settings: Mapping[str, Any], width_mult: float | None) -> SearchSpace:
    """The space `settings` with the classes and input channels of the file, and with its width.

    The width multiplier is the one given, that of the settings if it fits, or the roundest one that fits. Raises
    `UserError` if the file is of another family, or its channel numbers fit no multiplier (or not the one given).
    """

    def space(width: float | None) -> SearchSpace:
        changed = dict(settings) if width is None else {**settings, "width_mult": width}
        return get_space(changed, file.frame[LAST][1], file.frame[FIRST][0], key="--space")

    plain = space(width_mult)
    if plain.family != file.family:
        raise UserError(
            f"holds operators of the family {file.family!r}, but the space {plain.name!r} is of {plain.family!r}",
            file=file.path,
        )
    if frame(plain) == file.frame:
        return plain
    fitting = (width for width in _widths(file, space(1.0)) if frame(space(width)) == file.frame)
    width = next(fitting, None)
    if width is not None and width_mult is None:
        return space(width)
    found = ", ".join(f"{kind} {inputs} to {outputs}" for kind, (inputs, outputs) in file.frame.items())
    if width_mult is None:
        raise UserError(f"its channel numbers ({found}) fit no width multiplier of {plain.name!r}", file=file.path)
    expected = ", ".join(f"{kind} {inputs} to {outputs}" for kind, (inputs, outputs) in frame(plain).items())
    raise UserError(
        f"its channel numbers ({found}) are not those of {plain.name!r} with this multiplier ({expected})",
        file=file.path,
        key="--width-mult",
        value=width_mult,
        hint=None if width is None else f"They are those of {width:g}",
    )


def frame(space: SearchSpace) -> dict[str, tuple[int, int]]:
    """(input, output) channels of the operators that every network has once, as `LookupFile.frame`."""
    one = space.restrict(resolution=space.genome.option_values("resolution")[:1].tolist())
    texts = (text for parts in operator_texts(one).values() for text in parts)
    operators = {op.kind: op for text in texts if (op := parse_operator(text)) is not None}
    return {kind: (operators[kind].in_channels, operators[kind].out_channels) for kind in FRAMES[space.family]}


def _widths(file: LookupFile, unscaled: SearchSpace) -> Iterator[float]:
    """Multipliers near the ratio of the classifier's input channels, round ones first."""
    ratio = file.frame[LAST][0] / frame(unscaled)[LAST][0]
    for step in _STEPS:
        nearest = round(ratio / step)
        for number in (nearest, nearest - 1, nearest + 1):
            if number > 0:
                yield round(number * step, 3)
