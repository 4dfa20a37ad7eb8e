"""Does a table still tell the truth here? Its held-out networks, and some of its operators, are measured again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from latency_tables.batches import measure_items
from latency_tables.conformal import Interval, interval
from latency_tables.items import network_key
from latency_tables.journal import usual_speed_matters
from latency_tables.measure import this_device
from latency_tables.samples import Ledger
from latency_tables.table import HeldOut, LatencyTable, grade
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError

#: operators that are measured again
NUM_OPERATORS = 24

#: the table's own interval of this confidence is checked ...
CONFIDENCE = 0.95

#: ... and called broken if so many networks outside it were less likely than this
_UNLIKELY = 0.01

#: Kendall tau may fall by so much
_TAU = 0.1


@dataclass(frozen=True)
class Validation:
    """What was measured again, beside what the table claims.

    `drift`: how much longer the same networks take now (median of the ratios, 0.1 is 10 % slower); `now`: the table's
    predictions against these measurements; `stored`: what the table claims; `operator_drift`: as `drift`, by the kind
    of operator; `inside`: the share of the networks within the interval that the table gives them with 95 %
    confidence (None where it was graded on too few); `broken`: the claims that no longer hold, in words.
    """

    drift: float
    now: HeldOut
    stored: HeldOut
    operator_drift: dict[str, float] = field(default_factory=dict)
    inside: float | None = None
    broken: list[str] = field(default_factory=list)


def validate_table(
    table: LatencyTable, *, file: Path | None = None, rounds: int | None = None, seed: int = 0
) -> Validation:
    """Measure held-out networks and a sample of the operators of `table` again, as they were measured.

    Raises `UserError` on another device than the table's, and where the machine does not become quiet.
    """
    runtime, here = this_device(table.settings)
    if here != table.device:
        raise UserError(
            f"this table is of another device: {'; '.join(here.differences(table.device))}",
            file=file,
            key="device",
            hint="Validate it there, or measure a table of this device with `ofa measure`",
        )
    space = table.measured_space(file=file)
    pairs = table.heldout.pairs
    architectures = [Architecture.from_json(pair.architecture, file=file) for pair in pairs]
    population = space.encode(architectures, file=file)
    sample = _sample(space, seed)
    settings = table.settings if rounds is None else table.settings.model_copy(update={"rounds": rounds})
    ledger = Ledger(max_drift=settings.max_drift, at_usual_speed=usual_speed_matters(here))
    measure_items(
        runtime,
        space,
        architectures,
        only=sample,
        ledger=ledger,
        device=settings,
        seed=seed,
    )
    now_ms = np.array([ledger.samples[network_key(space, a)].summary().median_ms for a in architectures])
    operators_ms = {key: ledger.samples[key].summary().median_ms for key in sample}
    return compare(table, space, architectures, table.cost(space).evaluate(population), now_ms, operators_ms)


def compare(
    table: LatencyTable,
    space: SearchSpace,
    architectures: list[Architecture],
    predicted_ms: np.ndarray,
    now_ms: np.ndarray,
    operators_ms: Mapping[str, float],
) -> Validation:
    """What new measurements of the held-out networks, in the order of the table, and of operators say of it."""
    then_ms = np.array([pair.measured_ms for pair in table.heldout.pairs])
    drift = float(np.median(now_ms / then_ms) - 1)
    now, stored = grade(architectures, predicted_ms, now_ms), table.heldout
    ratios: dict[str, list[float]] = defaultdict(list)
    for key, ms in operators_ms.items():
        ratios[key.split("-")[0]].append(ms / table.entries[key].median_ms)
    operator_drift = {kind: float(np.median(values) - 1) for kind, values in sorted(ratios.items())}
    broken, most = [], table.settings.max_drift
    if abs(drift) > most:
        broken.append(f"the same networks take {drift:+.1%} of the time more than then (allowed: {most:.0%})")
    inside = None
    try:
        bounds = interval(*table.graded, CONFIDENCE)
    except UserError:
        pass  # graded on too few networks to claim an interval
    else:
        inside = _share_inside(bounds, predicted_ms, now_ms)
        outside = round((1 - inside) * len(now_ms))
        if _at_least(outside, len(now_ms), 1 - CONFIDENCE) < _UNLIKELY:
            broken.append(
                f"{outside} of {len(now_ms)} networks are outside the {CONFIDENCE:.0%} interval of their prediction "
                f"({bounds.low - 1:+.1%} to {bounds.high - 1:+.1%})"
            )
    if stored.kendall_tau is not None and (now.kendall_tau or 0.0) < stored.kendall_tau - _TAU:
        broken.append(f"Kendall tau fell from {stored.kendall_tau:.2f} to {now.kendall_tau or 0.0:.2f}")
    return Validation(drift, now, stored, operator_drift, inside, broken)


def _sample(space: SearchSpace, seed: int) -> list[str]:
    """Operators spread over all sizes, others for another seed."""
    operators = space.operators()
    keys = sorted(operators, key=lambda key: (float(operators[key].macs()), key))
    parts = np.array_split(np.arange(len(keys)), min(NUM_OPERATORS, len(keys)))
    rng = np.random.default_rng((seed, 2))
    return [keys[int(rng.choice(part))] for part in parts]


def _share_inside(bounds: Interval, predicted_ms: np.ndarray, now_ms: np.ndarray) -> float:
    ratios = now_ms / predicted_ms
    return float(np.mean((ratios >= bounds.low) & (ratios <= bounds.high)))


def _at_least(count: int, num: int, probability: float) -> float:
    """How likely `count` or more of `num` are, each with this probability."""
    below = sum(math.comb(num, k) * probability**k * (1 - probability) ** (num - k) for k in range(count))
    return max(0.0, 1 - below)
