"""How many instructions operators and networks take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from latency_tables.cortex_m.calls import Lookup
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.emulator import emulate
from latency_tables.cortex_m.lowering import lower
from latency_tables.cortex_m.program import Call, Map, Program
from latency_tables.cortex_m.scheduling import schedule
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.operators import Operator
from search_spaces.plain import build_network, build_operator


def operator_program(operator: Operator, *, plan: str = "overwriting") -> Program:
    """The calls of one operator under a memory plan, its weights any. Raises `UserError`, naming it, if a kernel is
    missing.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return schedule(lower(build_operator(operator), operator.input_shape), plan=plan)
        except UserError as error:
            where = operator.key if error.key is None else f"{operator.key}: {error.key}"
            raise UserError(error.message, key=where, value=error.value, hint=error.hint) from None


def network_program(space: SearchSpace, architecture: Architecture, *, plan: str = "overwriting") -> Program:
    """The calls of a whole network, its weights any."""
    with torch.random.fork_rng(devices=[]):
        network = build_network(space, architecture)
    side = architecture.resolution
    return schedule(lower(network, (space.in_channels, side, side)), plan=plan)


def call_key(call: Call) -> str:
    """What decides how many instructions a call takes."""
    return "-".join([call.kernel, *(str(int(number)) for number in call.geometry)])


class Counter:
    """Counts on one core, each call of a geometry once. `calls` has what is known already, by `call_key`."""

    def __init__(self, firmware: Firmware, calls: Mapping[str, int] | None = None) -> None:
        self.firmware = firmware
        self.calls = dict(calls or {})
        self.around = _around(firmware)
        """Of an inference besides its calls: from reset into `ofa_run` and out of it."""

    def count(self, program: Program) -> dict[str, int]:
        """Instructions of each of its calls by itself, the driver's part included, by `call_key`."""
        for call in program.calls:
            if (key := call_key(call)) not in self.calls:
                shapes: dict[str, Map] = {name: program.shapes[name] for name in (*call.inputs, call.output)}
                alone = Program([call], call.inputs[0], call.output, shapes)
                self.calls[key] = emulate(alone, self.firmware).instructions - self.around
        return {key: self.calls[key] for key in map(call_key, program.calls)}

    def total(self, program: Program) -> int:
        """The sum over its calls."""
        counts = self.count(program)
        return sum(counts[call_key(call)] for call in program.calls)

    def whole(self, program: Program) -> int:
        """Of the whole program in one run."""
        return emulate(program, self.firmware).instructions


def _around(firmware: Firmware) -> int:
    """What one call takes twice, less what two of them take once."""

    def total(calls: int) -> int:
        shapes: dict[str, Map] = {"x": (1, 1, 1)}
        call = Lookup(inputs=("x",), output="x", shape=(1, 1, 1), table=np.zeros(256, np.int8))
        return emulate(Program([call] * calls, "x", "x", shapes), firmware).instructions

    return 2 * total(1) - total(2)
