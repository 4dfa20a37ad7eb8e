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
    assert plan(Program(calls, "y0", "y4", shapes)).num_bytes == 256 + 3
