"""The latency of every operator on a new device from a few whole networks measured there and what is known already.

The setting of Lee et al., "HELP: Hardware-adaptive efficient latency prediction for NAS via meta-learning" (NeurIPS
2021), https://arxiv.org/abs/2106.08630: ten or twenty measured networks instead of a table. Their method learns a
network on the tables of many devices; this one needs none, or one, and is a small linear model whose terms mean
something.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from latency_tables.operator_work import OperatorWork
from search_spaces import SearchSpace
from search_spaces.costs import CostTable, align
from search_spaces.genome import Population

Floats = NDArray[np.float64]

#: the fewest networks that leave one to look at
LEAST_NETWORKS = 3

#: how strongly calls of different structures are held to cost the same, and amounts to cost nothing: tried in turn
CALL_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
WORK_STRENGTHS = (1e-4, 1e-2, 1.0)
STRENGTHS = tuple(itertools.product(CALL_STRENGTHS, WORK_STRENGTHS))

#: relative residuals beyond this many typical ones count less and less
_ROBUST = 3.0
_ROUNDS = 6
_MOST_FOLDS = 40
_DESIGN_STRENGTHS = (1e-2, 1e-4)


@dataclass(frozen=True)
class Terms:
    """What the latency of a network may be made of, by operator (in the order of `keys`).

    `calls` (num_operators, num_structures): calls of each operator, in the column of its structure. `amounts`
    (num_operators, k): work of other kinds, known latencies on other devices among them.
    """

    keys: tuple[str, ...]
    calls: Floats
    amounts: Floats

    @staticmethod
    def of(work: OperatorWork, known: Sequence[Floats] = ()) -> Terms:
        """`known`: the latency (num_operators,) of every operator on a device, one array a device."""
        calls = np.zeros((len(work.keys), len(work.calls)))
        calls[np.arange(len(work.keys)), work.structure] = work.calls[work.structure]
        return Terms(work.keys, calls, np.column_stack([work.amounts, *known]))

    def of_networks(self, counts: Floats) -> tuple[Floats, Floats]:
        """(n, num_structures) calls and (n, k) amounts of networks, by how often each operator stands in them."""
        return counts @ self.calls, counts @ self.amounts


@dataclass(frozen=True)
class Fitted:
    """Latency = `per_network` + the sum over operators of calls x `per_call` + amounts x `per_amount`, all >= 0."""

    per_network: float
    per_call: Floats
    per_amount: Floats
    strengths: tuple[float, float]

    def predict(self, calls: Floats, amounts: Floats) -> Floats:
        """(n,) latencies in ms."""
        predicted: Floats = self.per_network + calls @ self.per_call + amounts @ self.per_amount
        return predicted


def fit_few(
    calls: Floats,
    amounts: Floats,
    latencies_ms: Floats,
    *,
    strengths: Sequence[tuple[float, float]] = STRENGTHS,
) -> Fitted:
    """The non-negative linear model of latencies (n,) in the relative error, as a maximum a posteriori estimate.

    Before anything is measured every call is taken to cost the same, whatever the structure it is in, and amounts to
    cost nothing; how far the measurements may move that is chosen among `strengths` by the mean absolute
    leave-one-out error (in closed form, given which terms are positive). Networks far off the others, measured while
    the device did something else, lose their weight as under a Student t error (iteratively, from leave-one-out
    residuals). The order of the networks does not matter, nor the unit.
    """
    order = np.lexsort([*calls.T, *amounts.T, latencies_ms])
    calls, amounts, measured = calls[order], amounts[order], latencies_ms[order]
    middle = float(np.median(measured))
    scale_calls = middle / calls.sum(axis=1).mean()
    scale_amounts = middle / np.where(amounts.mean(axis=0) > 0, amounts.mean(axis=0), np.inf)
    design = np.column_stack([np.full(len(measured), middle), calls * scale_calls, amounts * scale_amounts])
    relative = design / measured[:, None]
    fits = [(*_solve(relative, _penalties(calls.shape[1], amounts.shape[1], *pair)), pair) for pair in strengths]
    shares, _, chosen = min(fits, key=lambda fit: float(np.abs(fit[1]).mean()))
    num = calls.shape[1]
    return Fitted(
        per_network=float(shares[0] * middle),
        per_call=shares[1 : 1 + num] * scale_calls,
        per_amount=shares[1 + num :] * scale_amounts,
        strengths=chosen,
    )


def num_folds(num: int) -> int:
    """Parts in which `held_out` leaves networks out: as many as networks up to 40, then 40."""
    return min(num, _MOST_FOLDS)


def held_out(calls: Floats, amounts: Floats, latencies_ms: Floats) -> Floats:
    """(n,) the latency of every network from a fit to all others (of other folds), strengths chosen anew each time."""
    fold = np.arange(len(latencies_ms)) % num_folds(len(latencies_ms))
    predicted = np.empty(len(latencies_ms))
    for number in range(int(fold.max()) + 1):
        out = fold == number
        predicted[out] = fit_few(calls[~out], amounts[~out], latencies_ms[~out]).predict(calls[out], amounts[out])
    return predicted


def spread(calls: Floats, amounts: Floats, num: int) -> list[int]:
    """Which `num` of these networks to measure: each next one where the model knows least (a Bayesian D-optimal design
    of its terms, greedily; Chaloner and Verdinelli, "Bayesian experimental design: a review", 1995).
    """
    scale_amounts = 1 / np.where(amounts.mean(axis=0) > 0, amounts.mean(axis=0), np.inf)
    columns = [np.ones(len(calls)), np.zeros(len(calls)), calls / calls.sum(axis=1).mean(), amounts * scale_amounts]
    design = np.column_stack(columns)
    penalties = _penalties(calls.shape[1], amounts.shape[1], *_DESIGN_STRENGTHS)
    covariance = np.linalg.inv(penalties.T @ penalties)
    taken: list[int] = []
    for _ in range(num):
        variances = np.einsum("ij,jk,ik->i", design, covariance, design)
        variances[taken] = -np.inf
        taken.append(int(np.argmax(variances)))
        gain = covariance @ design[taken[-1]]
        covariance -= np.outer(gain, gain) / (1 + design[taken[-1]] @ gain)
    return taken


def operator_latencies(terms: Terms, fitted: Fitted) -> dict[str, float]:
    """Latency in ms by operator key. One that no term gives anything gets a millionth of the dearest: a table's entries
    are positive.
    """
    values = replace(fitted, per_network=0.0).predict(terms.calls, terms.amounts)
    values = np.maximum(values, 1e-6 * values.max() if values.max() > 0 else 1e-6 * fitted.per_network)
    return dict(zip(terms.keys, values.tolist(), strict=True))


def operator_counts(space: SearchSpace, population: Population) -> Floats:
    """(n, num_operators): how often each operator of the space stands in each network."""
    numbers = _numbers(space)
    places = numbers.contributions(population).astype(np.int64)
    counts = np.zeros((len(population), len(space.operators()) + 1))
    np.add.at(counts, (np.arange(len(population))[:, None], places), 1.0)
    return counts[:, 1:]


def known_latencies(space: SearchSpace, cost: CostTable) -> Floats:
    """(num_operators,) what each operator costs in `cost`: the mean over its places, where these differ."""
    numbers, cost = align([_numbers(space), cost])
    place = np.concatenate([table.ravel() for table in numbers.tables]).astype(np.int64)
    value = np.concatenate([table.ravel() for table in cost.tables])
    size = len(space.operators()) + 1
    means: Floats = np.bincount(place, value, size)[1:] / np.bincount(place, minlength=size)[1:]
    return means


def _numbers(space: SearchSpace) -> CostTable:
    """Which operator stands in a slot, counted from 1; 0 where none does."""
    number = {key: float(place) for place, key in enumerate(space.operators(), start=1)}
    return space.cost_of(lambda operator: number[operator.key])


def _penalties(num_calls: int, num_amounts: int, call_strength: float, work_strength: float) -> Floats:
    """Rows whose squares are added to those of the residuals. The columns are: constant, a call of any structure, of
    each structure, amounts.
    """
    rows = np.zeros((2 + num_calls + num_amounts, 2 + num_calls + num_amounts))
    rows[0, 0] = np.sqrt(work_strength)
    rows[1, 1] = 1e-3 * np.sqrt(work_strength)
    for place in range(2, 2 + num_calls):
        rows[place, place], rows[place, 1] = np.sqrt(call_strength), -np.sqrt(call_strength)
    for place in range(2 + num_calls, len(rows)):
        rows[place, place] = np.sqrt(work_strength)
    return rows


def _solve(relative: Floats, penalties: Floats) -> tuple[Floats, Floats]:
    """Shares of constant, structures and amounts, and leave-one-out residuals (n,) relative to what was measured."""
    from scipy.optimize import nnls  # half a second to import

    design = np.insert(relative, 1, 0.0, axis=1)
    squares = penalties.T @ penalties
    weights = np.ones(len(design))
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        target = np.concatenate([root, np.zeros(len(penalties))])
        shares, _ = nnls(np.concatenate([design * root[:, None], penalties]), target, maxiter=100 * len(squares))
        free = shares > 0
        part = design[:, free]
        inverse = np.linalg.pinv((part * weights[:, None]).T @ part + squares[np.ix_(free, free)], hermitian=True)
        leverage = weights * np.einsum("ij,jk,ik->i", part, inverse, part)
        residuals = (design @ shares - 1) / np.maximum(1 - leverage, 1e-3)
        typical = max(float(np.median(np.abs(residuals))), 1e-9)
        weights = 1 / (1 + np.square(residuals / (_ROBUST * typical)))
    return np.delete(shares, 1), residuals
