"""Where activations lie: maps that are never alive together share bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from latency_tables.cortex_m.program import Program

#: kernels read up to 3 bytes behind a map
_SPARE = 3
_ALIGNMENT = 16


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes of every map by its name, and of the scratch memory of the call that writes a map."""

    offsets: dict[str, int]
    scratch: dict[str, int]
    num_bytes: int


@dataclass(frozen=True)
class _Block:
    """`size` bytes from step `first` to step `last`, both included."""

    name: str
    scratch: bool
    size: int
    first: int
    last: int


def plan(program: Program) -> Layout:
    """Largest first, each at the lowest place where nothing that lives at the same time is.

    An element-wise call writes over its input if nobody needs that any more.
    """
    last = {program.input: 0}
    for step, call in enumerate(program.calls):
        last.update(dict.fromkeys((*call.inputs, call.output), step))
    last[program.output] = len(program.calls)
    made = {call.output for call in program.calls} - {program.input}
    given = dict.fromkeys(
        [program.input, *(name for call in program.calls for name in call.inputs if name not in made)]
    )
    born, owner = dict.fromkeys(given, -1), {name: name for name in given}
    blocks: list[_Block] = []
    for step, call in enumerate(program.calls):
        born[call.output], owner[call.output] = step, call.output
        source = call.inputs[0]
        if call.in_place and last[source] == step and program.size(source) == program.size(call.output):
            owner[call.output] = owner[source]
        if call.scratch_bytes:
            blocks.append(_Block(call.output, True, call.scratch_bytes, step, step))
    for name in born:
        if owner[name] == name:
            end = max(last[other] for other, by in owner.items() if by == name)
            blocks.append(_Block(name, False, program.size(name) + _SPARE, born[name], end))

    placed: list[tuple[int, _Block]] = []
    for block in sorted(blocks, key=lambda block: (-block.size, block.first, block.name)):
        place = 0
        for offset, other in sorted(
            ((o, b) for o, b in placed if b.first <= block.last and block.first <= b.last), key=lambda pair: pair[0]
        ):
            if place + block.size <= offset:
                break
            place = max(place, _up(offset + other.size))
        placed.append((place, block))
    offsets = {block.name: offset for offset, block in placed if not block.scratch}
    return Layout(
        offsets={name: offsets[owner[name]] for name in born},
        scratch={block.name: offset for offset, block in placed if block.scratch},
        num_bytes=max(offset + block.size for offset, block in placed),
    )


def _up(number: int) -> int:
    return math.ceil(number / _ALIGNMENT) * _ALIGNMENT
