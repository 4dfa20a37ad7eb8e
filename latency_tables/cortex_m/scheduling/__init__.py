"""How a program is carried out: call after call, or several calls as one that needs less memory.

The calls of a program say what is computed; a schedule puts calls of fused kernels in the place of some of them, with
the same output to the bit. A pass is one file here and one entry in `_PASSES`: it replaces what it knows where the
planner needs less memory for it, looking at one segment of the plan at a time, so that an operator is scheduled in a
network as it is alone.
"""

from __future__ import annotations

from collections.abc import Callable

from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.scheduling.inverted_residual import fuse_inverted_residuals
from latency_tables.cortex_m.scheduling.overwriting import overwrite_inputs
from latency_tables.cortex_m.scheduling.transformer import by_operators, overwrite
from search_spaces.operators.base import check_plan

#: whole blocks before single calls, which are what the former look for
_PASSES: tuple[Callable[[Program], Program], ...] = (fuse_inverted_residuals, overwrite, overwrite_inputs)


def schedule(program: Program, *, plan: str = "overwriting") -> Program:
    """`program` under the memory plan `naive` (operator by operator) or `overwriting`. Raises `UserError` for another
    plan.
    """
    if check_plan(plan) == "naive":
        return by_operators(program)
    for fuse in _PASSES:
        program = fuse(program)
    return program
