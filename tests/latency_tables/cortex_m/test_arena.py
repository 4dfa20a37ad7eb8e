"""Maps that live at the same time never share a byte, unless one is written over what was read of its own input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import Add, GlobalAverage, Lookup, OverwritingPointwise, Pointwise
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.quantization import Affine, Finish

AFFINE = Affine(0.1, 0)


def random_program(draw: st.DataObject) -> Program:
    """Some calls, each of inputs that any call before it has made."""
    shapes: dict[str, Map] = {
        "x": (*draw.draw(st.sampled_from([(2, 2), (3, 3), (1, 7)])), draw.draw(st.integers(1, 40)))
    }
    calls: list[Call] = []
    for number in range(draw.draw(st.integers(1, 12))):
        source, name = draw.draw(st.sampled_from(list(shapes))), f"y{number}"
        height, width, channels = shape = shapes[source]
        kind = draw.draw(st.sampled_from(["lookup", "add", "pointwise", "overwriting", "mean"]))
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
            which = OverwritingPointwise if kind == "overwriting" else Pointwise
            calls.append(which(**ends, weights=weights, biases=biases, finish=finish, pixels=height * width))
            shape = (height, width, out)
        shapes[name] = shape
    return Program(calls, "x", calls[-1].output, shapes)


def two_pixels_at_a_time(call: OverwritingPointwise, bytes_of: np.ndarray, offsets: dict[str, int]) -> None:
    """As the kernel goes: from the last pixels on where the output is behind the input. What is read is there yet."""
    (source,), pixels = call.inputs, call.pixels
    x, y, (out, inputs) = offsets[source], offsets[call.output], call.weights.shape
    forwards = [(first, min(first + 2, pixels)) for first in range(0, pixels, 2)]
    backwards = [(first, first + 2) for first in range(pixels - 2, -1, -2)] + [(0, 1)] * (pixels % 2)
    for first, last in backwards if y > x else forwards:
        assert set(bytes_of[x + first * inputs : x + last * inputs]) == {source}
        bytes_of[y + first * out : y + last * out] = call.output


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
        if isinstance(call, OverwritingPointwise):
            two_pixels_at_a_time(call, bytes_of, layout.offsets)
            continue
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


def test_an_output_follows_its_input_at_a_distance() -> None:
    """Two pixels of the smaller map are all that is needed besides the larger one, whichever is which."""
    for inputs, out in ((40, 8), (8, 40), (24, 24)):
        weights, biases = np.zeros((out, inputs), np.int8), np.zeros(out, np.int64)
        ends = {"inputs": ("x",), "output": "y", "finish": Finish.of(np.full(out, 0.01), 0, 1e6)}
        call = OverwritingPointwise(**ends, weights=weights, biases=biases, pixels=64)
        needed = plan(Program([call], "x", "y", {"x": (8, 8, inputs), "y": (8, 8, out)})).num_bytes
        assert (
            64 * max(inputs, out) + 2 * min(inputs, out) <= needed <= 64 * max(inputs, out) + 2 * min(inputs, out) + 32
        )
