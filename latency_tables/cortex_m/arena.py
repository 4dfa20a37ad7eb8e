"""Where activations lie: maps that are never alive together share bytes.

A network is cut into segments: the runs of calls between two moments at which a single map is alive. A segment finds
its input at one end of the arena; its output lies in the same place, if it may be written over the input, or at the
other end, and then the next segment is laid out from there, mirrored. A segment of one call may write its output over
what it has read of the input, if the call can (`Call.leads`): then the two ends are so close that the maps meet. So
what a segment needs depends on its own calls alone, and a network needs exactly what the largest of its segments does:
peak memory is the maximum over the operators of a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from latency_tables.cortex_m.program import Call, Program

#: kernels read up to 3 bytes behind a map
_SPARE = 3
_ALIGNMENT = 16
#: so many blocks are tried in every order
_FEW = 6


@dataclass(frozen=True)
class Segment:
    """Calls `first` to `last` of a program, both included, and the bytes that they need."""

    first: int
    last: int
    num_bytes: int


@dataclass(frozen=True)
class Layout:
    """Offsets in bytes of every map by its name, and of the scratch memory of the call that writes a map."""

    offsets: dict[str, int]
    scratch: dict[str, int]
    num_bytes: int
    segments: tuple[Segment, ...]

    @property
    def peak(self) -> Segment:
        """The one that decides how large the arena is."""
        return max(self.segments, key=lambda segment: segment.num_bytes)


@dataclass(frozen=True)
class _Block:
    """`size` bytes from step `first` to step `last`, both included, for the maps `names` or for scratch memory."""

    names: tuple[str, ...]
    size: int
    first: int
    last: int
    scratch: bool = False

    def meets(self, other: _Block) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class _Placed:
    """Offsets as they are where the input is at the bottom of an arena of `num_bytes`; `output` stays at its top."""

    blocks: tuple[tuple[_Block, int], ...]
    output: _Block | None
    num_bytes: int


def plan(program: Program) -> Layout:
    """Every segment in the least memory that is found for it.

    A call that may work in place writes over its input if nobody needs that any more.
    """
    alive = _alive(program)
    last = len(program.calls) - 1
    cuts = [-1, *(step for step in range(last) if alive[step] == {program.calls[step].output}), last]
    ranges = [(before + 1, after) for before, after in itertools.pairwise(cuts)]
    placed = [
        _place(_blocks(program, alive, first, last), program.calls[first].leads if first == last else None)
        for first, last in ranges
    ]
    num_bytes = max(part.num_bytes for part in placed)
    offsets: dict[str, int] = {}
    scratch: dict[str, int] = {}
    mirrored = False
    for (_, step), part in zip(ranges, placed, strict=True):
        top = [] if part.output is None else [(part.output, num_bytes - part.output.size)]
        for block, offset in (*part.blocks, *top):
            place = num_bytes - offset - block.size if mirrored else offset
            (scratch if block.scratch else offsets).update(dict.fromkeys(block.names, place))
        if part.output is None and mirrored:  # also an output smaller than the input's block ends where the arena does
            ends = program.calls[step].output
            offsets[ends] = num_bytes - _up(program.size(ends) + _SPARE)
        mirrored ^= part.output is not None
    segments = (Segment(*ends, part.num_bytes) for ends, part in zip(ranges, placed, strict=True))
    return Layout(offsets, scratch, num_bytes, tuple(segments))


def _alive(program: Program) -> list[set[str]]:
    """The maps that are needed after each call."""
    after, alive = {program.output}, []
    for call in reversed(program.calls):
        alive.append(set(after))
        after = (after - {call.output}) | {*call.inputs}
    return alive[::-1]


def _blocks(program: Program, alive: Sequence[set[str]], first: int, last: int) -> tuple[list[_Block], str]:
    """What the calls `first` to `last` need, the map they begin with before all others, and the map they end with."""
    calls = program.calls[first : last + 1]
    made = {call.output for call in calls}
    begin = calls[0].inputs[0] if first else program.input
    given = [begin, *(n for call in calls for n in call.inputs if n not in made and n != begin)]
    ends = calls[-1].output
    groups: list[list[str]] = [[name] for name in dict.fromkeys(given)]
    by_name = {name: group for group in groups for name in group}
    steps: list[_Block] = []
    for step, call in enumerate(calls, start=first):
        if call.output not in by_name:
            group = by_name[call.inputs[0]]
            if not (_over(program, call, begin, ends, group) and call.inputs[0] not in alive[step]):
                groups.append(group := [])
            group.append(call.output)
            by_name[call.output] = group
        if call.scratch_bytes:
            steps.append(_Block((call.output,), _up(call.scratch_bytes), step, step, scratch=True))
    blocks = []
    for group in groups:
        used = [s for s, call in enumerate(calls, start=first) if {*group} & {*call.inputs, call.output}]
        born = first if group[0] in given else used[0]
        size = _up(max(program.size(name) for name in group) + _SPARE)
        blocks.append(_Block(tuple(group), size, born, last if ends in group else used[-1]))
    return [*blocks, *steps], ends


def _over(program: Program, call: Call, begin: str, ends: str, group: Sequence[str]) -> bool:
    """Whether the output may lie where the maps of `group` do. What a segment ends with reaches to the arena's end."""
    size, before = program.size(call.output), program.size(call.inputs[0])
    if not call.in_place or size > before:
        return False
    if call.output != ends or all(program.size(name) == size for name in group):
        return True
    return call.at_either_end and list(group) == [begin]


def _place(found: tuple[list[_Block], str], leads: tuple[int, int] | None) -> _Placed:
    blocks, ends = found
    start, *others = blocks
    output = next((block for block in others if ends in block.names and not block.scratch), None)
    if leads is not None and output is not None and len(blocks) == 2:
        behind, before = leads
        need = max(start.size, output.size, _up(behind) + output.size, _up(before) + start.size)
        return _Placed(((start, 0),), output, min(need, start.size + output.size))
    inner = [block for block in others if block is not output]
    least = max(sum(b.size for b in blocks if b.first <= step <= b.last) for step in _steps(blocks))
    best: _Placed | None = None
    for order in _orders(inner):
        placed = [(start, 0)]
        for block in order:
            placed.append((block, _lowest(block, placed)))
        need = max(offset + block.size for block, offset in placed)
        if output is not None:
            need = max(need, output.size, *(o + b.size + output.size for b, o in placed if b.meets(output)), 0)
        if best is None or need < best.num_bytes:
            best = _Placed(tuple(placed), output, need)
        if need == least:
            break
    assert best is not None
    return best


def _steps(blocks: Iterable[_Block]) -> set[int]:
    return {block.first for block in blocks}


def _orders(blocks: Sequence[_Block]) -> Iterator[Sequence[_Block]]:
    """Largest first; then all others, if there are few."""
    yield sorted(blocks, key=lambda block: -block.size)
    yield blocks
    if len(blocks) <= _FEW:
        yield from itertools.permutations(blocks)


def _lowest(block: _Block, placed: Iterable[tuple[_Block, int]]) -> int:
    """The lowest place where nothing is that lives at the same time."""
    place = 0
    for other, offset in sorted(placed, key=lambda pair: pair[1]):
        if other.meets(block):
            if place + block.size <= offset:
                break
            place = max(place, offset + other.size)
    return place


def _up(number: int) -> int:
    return -(-number // _ALIGNMENT) * _ALIGNMENT
