"""Convolutions that overwrite their input, where their segment needs less memory for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.calls import (
    Convolution,
    Depthwise,
    InPlaceDepthwise,
    OverwritingConvolution,
    OverwritingDepthwise,
    OverwritingPointwise,
    Pointwise,
)
from latency_tables.cortex_m.program import Call, Program

#: forms of a call, that of fewer instructions first
_FORMS: Mapping[type[Call], Sequence[type[Call]]] = {
    Pointwise: (OverwritingPointwise,),
    Convolution: (OverwritingConvolution,),
    Depthwise: (OverwritingDepthwise, InPlaceDepthwise),
}


def overwrite_inputs(program: Program, forms: Mapping[type[Call], Sequence[type[Call]]] = _FORMS) -> Program:
    """Calls alone in their segment write their output over what they have read, from the other end of the arena on;
    depthwise convolutions among others work in place, with the rows that are still read in scratch memory.
    """
    calls = list(program.calls)
    for segment in plan(program).segments:
        needed = segment.num_bytes
        for step in range(segment.first, segment.last + 1):
            best = call = calls[step]
            for form in forms.get(type(call), ()):
                if form is InPlaceDepthwise and not (isinstance(call, Depthwise) and call.window.shrinks):
                    continue
                calls[step] = form(**{field.name: getattr(call, field.name) for field in fields(call)})
                part = calls[segment.first : segment.last + 1]
                begin = part[0].inputs[0] if segment.first else program.input
                now = plan(replace(program, calls=part, input=begin, output=part[-1].output)).num_bytes
                if now < needed:
                    needed, best = now, calls[step]
            calls[step] = best
    return replace(program, calls=calls)
