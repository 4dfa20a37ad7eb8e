"""From operators timed one by one to the latency of networks: which of three models predicts networks best.

    line   slope x sum of operators + constant
    calls  as `line`, plus the same time for every operator (neighbours get in each other's way), or less it (what they
           share, which of an operator that takes hardly longer is the smaller part)
    work   as `few_samples`: the sum of operators is one term beside counted work, all of them non-negative

Each is judged by the networks it was not fitted on, in cross-validation over those that were measured for the purpose;
a model with more terms must win by a margin. The fastest and the slowest network are always fitted, never judged:
networks to be predicted lie between them, and beyond them the richer model is mostly the worse one. All of them give
every operator a latency of its own, so that networks stay sums of operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latency_tables.correction import LEAST_SHARE, fit_line
from latency_tables.few_samples import Terms, fit_few, operator_counts
from latency_tables.operator_work import operator_work
from search_spaces import Architecture, SearchSpace

Floats = NDArray[np.float64]

#: by how much (relative) a richer model must beat a simpler one
_MARGIN = 0.03

#: fewer networks than this tell a line and no more
_ENOUGH = 12
_FOLDS = 10


@dataclass(frozen=True)
class NetworkModel:
    """Latency of a network in ms = sum over its operators of `slope` x `operators_ms` + `constant_ms`.

    `operators_ms` is None where these are the operators as they were timed (`line`). `errors` are the mean absolute
    relative errors in cross-validation, by model; empty where too few networks were measured to judge.
    """

    name: Literal["line", "calls", "work"]
    slope: float
    constant_ms: float
    operators_ms: dict[str, float] | None
    errors: dict[str, float]


#: what a model makes of (n, num_operators) counts and (n,) measured ms: (num_operators,) ms and a constant
_Fit = Callable[[Floats, Floats], tuple[Floats, float]]


def fit_networks(
    space: SearchSpace, known_ms: Mapping[str, float], architectures: Sequence[Architecture], measured_ms: ArrayLike
) -> NetworkModel:
    """The best model of networks, given every operator's own latency (less the overhead of its call).

    The same networks in another order give the same model. None at all give the plain sum.
    """
    keys = tuple(space.operators())
    known = np.array([known_ms[key] for key in keys])
    if not len(architectures):
        return NetworkModel("line", 1.0, 0.0, None, {})
    least_ms = space.cost_of(lambda operator: known_ms[operator.key]).minimum()[0]
    counts = operator_counts(space, space.encode(architectures))
    measured = np.asarray(measured_ms, dtype=np.float64)
    order = np.lexsort([*counts.T, measured])
    counts, measured = counts[order], measured[order]
    line = fit_line(counts @ known, measured, least_ms=least_ms)
    plain = NetworkModel("line", line.slope, line.constant_ms, None, {})
    if len(measured) < _ENOUGH:
        return plain

    def line_of(counts: Floats, measured: Floats) -> tuple[Floats, float]:
        found = fit_line(counts @ known, measured, least_ms=least_ms)
        return found.slope * known, found.constant_ms

    fits: dict[str, _Fit] = {"line": line_of, "calls": _calls(known, least_ms), "work": _work(space, known)}
    errors = {name: _cross_validated(fit, counts, measured) for name, fit in fits.items()}
    best: Literal["line", "calls", "work"] = "line"
    richer: tuple[Literal["calls", "work"], ...] = ("calls", "work")
    for name in richer:
        if errors[name] < (1 - _MARGIN) * errors[best]:
            best = name
    if best == "line":
        return NetworkModel("line", line.slope, line.constant_ms, None, errors)
    operators_ms, constant = fits[best](counts, measured)
    return NetworkModel(best, 1.0, constant, dict(zip(keys, operators_ms.tolist(), strict=True)), errors)


def _cross_validated(fit: _Fit, counts: Floats, measured: Floats) -> float:
    between = np.argsort(measured, kind="stable")[1:-1]
    fold = np.full(len(measured), -1)
    fold[between] = np.random.default_rng(0).permutation(len(between)) % min(_FOLDS, len(between))
    errors = np.empty(len(measured))
    for number in range(int(fold.max()) + 1):
        out = fold == number
        operators_ms, constant = fit(counts[~out], measured[~out])
        errors[out] = np.abs((counts[out] @ operators_ms + constant) / measured[out] - 1)
    return float(errors[between].mean())


def _calls(known: Floats, least_ms: float) -> _Fit:
    def fit(counts: Floats, measured: Floats) -> tuple[Floats, float]:
        from scipy.optimize import least_squares  # half a second to import

        calls, sums = counts.sum(axis=1), counts @ known
        typical = float(np.median(sums / calls))

        def relative(parameters: Floats) -> Floats:
            slope, each, shift = parameters
            found: Floats = slope * (counts @ _beside(known, each * typical) + shift * least_ms) / measured - 1
            return found

        start = float(np.median(measured / sums))
        bounds = ([1e-3 * start, -2.0, -0.5], [np.inf, 2.0, np.inf])
        slope, each, shift = least_squares(
            relative, [start, 0.0, 0.0], bounds=bounds, loss="soft_l1", f_scale=0.02, x_scale=[start, 1.0, 1.0]
        ).x
        within = np.maximum(_beside(known, each * typical), LEAST_SHARE * known)
        return slope * within, float(slope * shift * least_ms)

    return fit


def _beside(alone: Floats, each: float) -> Floats:
    """Times of operators with `each` more, or less: that much of a long one, and never all of a short one."""
    return alone + each if each >= 0 else np.square(alone) / (alone - each)


def _work(space: SearchSpace, known: Floats) -> _Fit:
    terms = Terms.of(operator_work(space), [known])

    def fit(counts: Floats, measured: Floats) -> tuple[Floats, float]:
        found = fit_few(*terms.of_networks(counts), measured)
        values = terms.calls @ found.per_call + terms.amounts @ found.per_amount
        return np.maximum(values, LEAST_SHARE * known), found.per_network

    return fit
