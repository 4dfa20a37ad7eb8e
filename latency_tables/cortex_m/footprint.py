"""What a program takes of a device's memories: flash for its constants, SRAM for its maps."""

from __future__ import annotations

from latency_tables.cortex_m.arena import plan
from latency_tables.cortex_m.program import Call, Program

_ALIGNMENT = 16
_STEP_BYTES = 8


def call_flash(call: Call) -> int:
    """Bytes of a call's constants (each from a multiple of 16 on), its arguments and its step."""
    constants = sum(-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in call.constants().values())
    return constants + 4 * len(call.arguments()) + _STEP_BYTES


def flash(program: Program) -> int:
    """Bytes of flash that a program takes besides the kernels' code: the sum over its calls."""
    return sum(map(call_flash, program.calls))


def peak_memory(program: Program) -> int:
    """Bytes of SRAM for all maps and scratch memory: the maximum over a network's operators."""
    return plan(program).num_bytes
