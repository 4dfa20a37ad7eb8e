"""Maps that live at the same time never share a byte, unless one is written over its own input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import Add, GlobalAverage, Lookup, Pointwise
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import Affine, Finish

AFFINE = Affine(0.1, 0)


def random_program(draw: st.DataObject) -> Program:
    """Some calls, each of inputs that any call before it has made."""
    shapes: dict[str, Map] = {"x": (2, 2, draw.draw(st.integers(1, 40)))}
    calls: list[Call] = []
    for number in range(draw.draw(st.integers(1, 12))):
        source, name = draw.draw(st.sampled_from(list(shapes))), f"y{number}"
        height, width, channels = shape = shapes[source]
        kind = draw.draw(st.sampled_from(["lookup", "add", "pointwise", "mean"]))
        if kind == "lookup":
            calls.append(Lookup(inputs=(source,), output=name, shape=shape, table=np.zeros(256, np.int8)))
        elif kind == "add":
            other = draw.draw(st.sampled_from([key for key, sides in shapes.items() if sides == shape]))
            terms = {"first": AFFINE, "second": AFFINE, "after": AFFINE}
            calls.append(Add(inputs=(source, other), output=name, shape=shape, **terms))
        elif kind == "mean":
            calls.append(GlobalAverage(inputs=(source,), output=name, shape=shape, before=AFFINE, after=AFFINE))
            shape = (1, 1, channels)
        else:
            out = draw.draw(st.integers(1, 40))
            weights, biases = np.zeros((out, channels), np.int8), np.zeros(out, np.int64)
            finish = Finish.of(np.full(out, 0.01), 0, 1e6)
            ends = {"inputs": (source,), "output": name}
            calls.append(Pointwise(**ends, weights=weights, biases=biases, finish=finish, pixels=height * width))
            shape = (height, width, out)
        shapes[name] = shape
    return Program(calls, "x", calls[-1].output, shapes)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_nothing_is_overwritten_that_is_read_later(draw: st.DataObject) -> None:
    """Play the program over an arena whose bytes say which map wrote them last."""
    program = random_program(draw)
    layout = plan(program)
    bytes_of = np.full(layout.num_bytes, "", dtype=object)

    def place(name: str) -> slice:
        return slice(layout.offsets[name], layout.offsets[name] + program.size(name))

    bytes_of[place("x")] = "x"
    for call in program.calls:
        for source in call.inputs:
            assert set(bytes_of[place(source)]) == {source}
        if not call.in_place:
            assert all(set(bytes_of[place(call.output)]).isdisjoint({source}) for source in call.inputs)
        bytes_of[place(call.output)] = call.output
    assert set(bytes_of[place(program.output)]) == {program.output}


def test_memory_is_used_again() -> None:
    """Four maps in a row: two are alive at a time."""
    calls = [
        Lookup(inputs=(f"y{n}",), output=f"y{n + 1}", shape=(8, 8, 4), table=np.zeros(256, np.int8)) for n in range(4)
    ]
    shapes: dict[str, Map] = {f"y{n}": (8, 8, 4) for n in range(5)}
    assert plan(Program(calls, "y0", "y4", shapes)).num_bytes == 256 + 16  # in place, and 3 bytes to spare, rounded up


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_arena_is_the_largest_of_its_segments(draw: st.DataObject) -> None:
    """A segment planned by itself takes what it takes in the program: peak memory is a maximum over operators."""
    program = random_program(draw)
    layout = plan(program)
    needs = []
    for segment in layout.segments:
        calls = program.calls[segment.first : segment.last + 1]
        begin = calls[0].inputs[0] if segment.first else program.input
        alone = plan(Program(calls, begin, calls[-1].output, program.shapes))
        needs.append(alone.num_bytes)
        assert alone.num_bytes == segment.num_bytes
    assert layout.num_bytes == max(needs) == layout.peak.num_bytes


def test_two_maps_of_a_chain_are_all_there_is() -> None:
    """Calls that cannot work in place, in a row: each finds its input at one end and writes to the other."""
    calls, shapes, sides = [], {}, [40, 8, 96, 16, 64]
    for n, out in enumerate(sides[1:]):
        weights, biases = np.zeros((out, sides[n]), np.int8), np.zeros(out, np.int64)
        finish = Finish.of(np.full(out, 0.01), 0, 1e6)
        ends = {"inputs": (f"y{n}",), "output": f"y{n + 1}"}
        calls.append(Pointwise(**ends, weights=weights, biases=biases, finish=finish, pixels=16))
    shapes.update({f"y{n}": (4, 4, channels) for n, channels in enumerate(sides)})
    assert plan(Program(calls, "y0", "y4", shapes)).num_bytes == 16 * (96 + 16) + 2 * 16
