"""A device that is counted: energy of int8 inference in a 45 nm process, from published energies of operations.

M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014: an 8-bit multiplication takes
0.2 pJ, a 32-bit addition 0.1 pJ; 64 bits from a 1 MB cache 100 pJ, from DRAM 1.3 nJ at least. Weights come from DRAM
once, activations are written to and read from the cache. No control logic, no idle power: a lower bound.
"""

from __future__ import annotations

from importlib.metadata import version
from math import prod
from pathlib import Path

from latency_tables.identity import SpaceIdentity
from latency_tables.listed import ListedTable
from latency_tables.published import Source
from latency_tables.table import load_table
from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.operators import Operator

DEVICE = "horowitz_45nm"

#: pJ of a multiply-accumulate, of a byte of activations, of a byte of weights
PJ_PER_MAC, PJ_PER_CACHE_BYTE, PJ_PER_DRAM_BYTE = 0.2 + 0.1, 100 / 8, 1300 / 8
_MJ_PER_PJ = 1e-9


def energy_mj(operator: Operator) -> float:
    """Energy of one inference of an operator in mJ."""
    activations = prod(operator.input_shape) + prod(operator.output_shape)
    weights = float(operator.flash("int8"))
    picojoules = PJ_PER_MAC * float(operator.macs()) + PJ_PER_CACHE_BYTE * activations + PJ_PER_DRAM_BYTE * weights
    return picojoules * _MJ_PER_PJ


def count_energy(
    space: SearchSpace, *, path: Path, seed: int = 0, compiler: str = "zig", replace: bool = False
) -> ListedTable:
    """The table of `space`, written to `path`; `seed` and `compiler` are for devices that need them."""
    if path.exists() and not replace:
        known = load_table(path)
        if not isinstance(known, ListedTable) or known.device != DEVICE:
            raise UserError("holds a table of another device", file=path, hint="Give another file, or --replace it")
    table = ListedTable(
        metric="energy",
        unit="mJ",
        device=DEVICE,
        note="computed from published energies of operations",
        licence="numbers computed here",
        source=Source(
            title="M. Horowitz, Computing's energy problem, ISSCC 2014, figure 1.1.9",
            where="https://doi.org/10.1109/ISSCC.2014.6757323",
            files={},
        ),
        provenance={"plug-in": f"ofa-example {version('ofa-example')}"},
        space=SpaceIdentity.of(space),
        entries={key: energy_mj(operator) for key, operator in space.operators().items()},
    )
    table.save(path)
    return table
