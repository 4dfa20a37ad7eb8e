"""A table to search with, fitted to what Vela says of whole networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latency_tables.correction import kendall_tau
from latency_tables.ethos_u.vela import ACCELERATORS, VelaCosts, VelaOracle, vela_version, writer_digest
from latency_tables.identity import SpaceIdentity
from latency_tables.listed import CheckedNetwork, ListedTable, WholeNetworks
from latency_tables.networks import choose_networks
from latency_tables.published import Source
from latency_tables.table import load_table
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError

Floats = NDArray[np.float64]

#: what an operator that is off its prior by all of it weighs, in networks that are off by all of theirs: tried in turn
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_FOLDS = 5
#: the least share of its prior that an operator costs: cheap ones are not free
_LEAST = 0.05


def measure_vela(space: SearchSpace, name: str, *, path: Path, seed: int = 0, replace: bool = False) -> ListedTable:
    """The table of `space` on the accelerator `name`, written to `path`. Vela's answers are kept beside it, in
    `path.with_suffix(".vela.jsonl")`: interrupted, the same call goes on where it was, and a finished table of the same
    is written again from them. Raises `UserError` if `path` holds another table, unless `replace`.
    """
    if path.exists() and not replace:
        finished = load_table(path)
        if not isinstance(finished, ListedTable) or (finished.device, finished.space.fingerprint) != (
            name,
            space.fingerprint,
        ):
            raise UserError(
                "holds a table of another device or space",
                file=path,
                hint="Give another file, or --replace to overwrite it",
            )
    return vela_table(space, name, seed=seed, path=path, cache=path.with_suffix(".vela.jsonl"))


def vela_table(
    space: SearchSpace,
    accelerator: str,
    *,
    num: int = 96,
    num_heldout: int = 32,
    seed: int = 0,
    path: Path,
    cache: Path | None = None,
) -> ListedTable:
    """Ask Vela about every operator alone and about `num` networks, from the smallest to the largest, and fit cycles
    per operator to them; check the sums on `num_heldout` others, drawn at random, and write the table.
    """
    oracle = VelaOracle(space, accelerator, cache=cache)
    probes = choose_networks(space, num_fit=num, num_heldout=num_heldout, seed=seed)
    if not probes.fit:
        raise UserError(f"{space.name!r} has {space.size} networks: ask about them directly, there is nothing to fit")
    answers = oracle.costs([*probes.fit, *probes.heldout])
    fitted, held = answers[: len(probes.fit)], answers[len(probes.fit) :]
    operators = space.operators()
    alone = [answer.cycles for answer in oracle.operator_costs(list(operators.values()))]
    constant, entries = fit_operators(
        space, probes.fit, [answer.cycles for answer in fitted], dict(zip(operators, alone, strict=True))
    )
    system, memory = ACCELERATORS[accelerator]
    table = ListedTable(
        metric="cycles",
        unit="cycles",
        device=accelerator,
        note=f"fitted to what Vela estimates for {len(fitted)} whole int8 networks{_on_the_cpu(answers)}",
        licence="numbers computed here; Vela is Apache-2.0",
        source=Source(
            title=f"Arm Vela {vela_version()}, estimates",
            where="https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela",
            files={},
        ),
        provenance={
            "vela": vela_version(),
            "system_config": system,
            "memory_mode": memory,
            "writer": writer_digest(),
            "networks": str(len(fitted)),
            "seed": str(seed),
            "least_npu_share": f"{min(answer.npu_share for answer in answers):.4f}",
        },
        space=SpaceIdentity.of(space),
        per_network=constant,
        entries=entries,
    )
    predicted = table.cost(space).evaluate(space.encode(probes.heldout))
    checked = [
        CheckedNetwork(architecture=network.to_json(), predicted=float(sum_), observed=float(answer.cycles))
        for network, sum_, answer in zip(probes.heldout, predicted, held, strict=True)
    ]
    table = table.model_copy(update={"checked": WholeNetworks.of(checked)})
    table.save(path)
    return table


def can_ask(table: ListedTable) -> bool:
    """Whether the Vela that this table is from is installed here, and writes the same networks."""
    if table.metric != "cycles" or table.device not in ACCELERATORS:
        return False
    try:
        here = {"vela": vela_version(), "writer": writer_digest()}
    except UserError:
        return False
    return all(table.provenance.get(key) == value for key, value in here.items())


def ask(table: ListedTable, space: SearchSpace, architectures: Sequence[Architecture]) -> list[float]:
    """Cycles of whole networks, as Vela says and not as sums tell."""
    return [float(costs.cycles) for costs in VelaOracle(space, table.device).costs(architectures)]


def fit_operators(
    space: SearchSpace, architectures: Sequence[Architecture], cycles: Sequence[int], alone: Mapping[str, int]
) -> tuple[float, dict[str, float]]:
    """Cycles per network besides, and per operator of the space: the least squares of relative errors, each operator
    held to its prior by a ridge. The prior is what fits best of its cycles `alone`, MACs, parameters and activations,
    none below zero; the strength of the ridge is the one with the least error in cross-validation.
    """
    operators = space.operators()
    column = {key: index for index, key in enumerate(operators)}
    counts = np.zeros((len(architectures), len(column)))
    for row, architecture in enumerate(architectures):
        for _, operator in space.network(architecture):
            counts[row, column[operator.key]] += 1
    y = np.array(cycles, dtype=np.float64)
    features = np.array(
        [
            [float(alone[key]), float(op.macs()), float(op.params()), float(op.peak_memory("int8")), 1.0]
            for key, op in operators.items()
        ]
    )
    errors = {ridge: _cross_validated(counts, features, y, ridge) for ridge in _RIDGES}
    best = min(errors, key=lambda ridge: errors[ridge])
    constant, values = _fit(counts, features, y, best)
    return constant, dict(zip(column, map(float, values), strict=True))


def _cross_validated(counts: Floats, features: Floats, y: Floats, ridge: float) -> float:
    """Mean relative error; every fold reaches from small networks to large ones, as `choose_networks` orders them."""
    total, folds = 0.0, np.arange(len(y)) % min(_FOLDS, len(y))
    for fold in range(folds.max() + 1):
        inside = folds != fold
        constant, values = _fit(counts[inside], features, y[inside], ridge)
        total += float(np.abs((counts[~inside] @ values + constant) / y[~inside] - 1).sum())
    return total / len(y)


def _fit(counts: Floats, features: Floats, y: Floats, ridge: float) -> tuple[float, Floats]:
    from scipy.optimize import lsq_linear, nnls  # half a second to import, and reading a table must not pay for it

    sums = np.column_stack([counts @ features, np.ones(len(y))]) / y[:, None]
    size = np.where((scale := np.abs(sums).max(axis=0)) > 0, scale, 1.0)
    weights = nnls(sums / size, np.ones(len(y)))[0] / size
    prior = np.maximum(features @ weights[:-1], 1e-9 * y.min() + 1e-6)
    # unknowns: each operator in units of its prior, less 1
    system = np.vstack([counts * prior / y[:, None], ridge * np.eye(len(prior))])
    target = np.concatenate([1 - (counts @ prior + weights[-1]) / y, np.zeros(len(prior))])
    found = lsq_linear(system, target, bounds=(_LEAST - 1, np.inf)).x
    return float(weights[-1]), prior * (1 + found)


def _on_the_cpu(answers: Sequence[VelaCosts]) -> str:
    """Of what runs beside the NPU, and is not counted."""
    kinds = sorted({kind for answer in answers for kind in answer.cpu_operators})
    return f"; not counted, as the CPU runs them: {', '.join(kinds)}" if kinds else ""


def heldout_errors(table: ListedTable) -> tuple[float, float | None]:
    """Mean relative error and Kendall's tau of a table on the networks it was checked with. Raises `UserError` for a
    table without any.
    """
    if table.checked is None:
        raise UserError("this table was not checked on whole networks")
    predicted = np.array([network.predicted for network in table.checked.networks])
    observed = np.array([network.observed for network in table.checked.networks])
    return float(np.abs(predicted / observed - 1).mean()), kendall_tau(predicted, observed)
