"""Which gene buys how much accuracy at what price: one gene changed by one option, everything else held, averaged over
random networks, as the predictor sees it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy.stats

from predictors.models import MODELS
from predictors.targets import TARGETS

if TYPE_CHECKING:
    from predictors.base import BoundPredictor, Predictor
    from predictors.record_file import Records
    from search_spaces import SearchSpace
    from search_spaces.architecture import Value
    from search_spaces.costs import CostTable
    from search_spaces.genome import Gene, Population

Floats = npt.NDArray[np.float64]
Predict = Callable[["Population"], Floats]

#: Random networks a gene is changed in, and how many are drawn to find as many where it is not switched off.
NUM_NETWORKS, _POOL = 256, 2048
#: Parts of the records that are left out in turn.
NUM_PARTS = 10


@dataclass(frozen=True)
class Quotient:
    """A mean with the ends of its interval; they are None where nothing is known of the predictor's error."""

    value: float
    lower: float | None
    upper: float | None

    @property
    def tells(self) -> bool | None:
        """Whether its sign is beyond the noise; None where that is not known."""
        return None if self.lower is None or self.upper is None else not self.lower <= 0 <= self.upper


@dataclass(frozen=True)
class Step:
    """One gene from one option to a neighbouring one, in the direction that costs more (of the first cost). Or the mean
    over all genes of a kind (`kernel` for `kernel.0`, `kernel.1`, ...) that have these options, then `num_genes` > 1.

    `gain` is in accuracy (0..1); `changes` in the units of the costs, by their names; `gain_per` their quotients, left
    out where the cost does not change.
    """

    gene: str
    num_genes: int
    start: Value
    end: Value
    num: int
    gain: Quotient
    changes: dict[str, float]
    gain_per: dict[str, Quotient]


def gene_steps(
    space: SearchSpace,
    predict: Predict,
    others: Sequence[Predict],
    costs: Mapping[str, CostTable],
    *,
    level: float,
    seed: int,
) -> tuple[list[Step], list[Step]]:
    """Every step of every gene; and the same of genes of one kind together. The best buys (by the first of `costs`)
    come first, those that change no cost last.

    `others` predict too, each fitted without one part of the records: how far they disagree is the error of the
    predictor (the jackknife over groups, Efron, 1982), besides that of having tried random networks and not all.
    Without them no interval is known.
    """
    changed: dict[tuple[str, Value, Value], list[_Changed]] = {}
    for gene, populations in _variants(space, np.random.default_rng([seed, NUM_NETWORKS])):
        told = [[one(rows) for rows in populations] for one in (predict, *others)]
        paid = {name: [table.evaluate(rows) for rows in populations] for name, table in costs.items()}
        kind, options = gene.name.partition(".")[0], gene.options
        for option, (start, end) in enumerate(itertools.pairwise(options)):
            gains = np.stack([values[option + 1] - values[option] for values in told])
            changes = {name: values[option + 1] - values[option] for name, values in paid.items()}
            changed.setdefault((kind, start, end), []).append(_Changed(gene.name, gains, changes))
    steps = [_step(one.gene, key, [one], level) for key, alike in changed.items() for one in alike]
    kinds = [_step(key[0], key, alike, level) for key, alike in changed.items() if len(alike) > 1]
    first = next(iter(costs))

    def worth(step: Step) -> float:
        return step.gain_per[first].value if first in step.gain_per else -np.inf

    return sorted(steps, key=worth, reverse=True), sorted(kinds, key=worth, reverse=True)


def refitted(predictor: Predictor, space: SearchSpace, records: Records, *, seed: int) -> list[Predict]:
    """The same model fitted again without each part of the records it was fitted to; [] for a published predictor."""
    names = list(dict.fromkeys(records.group_names))
    if predictor.name not in MODELS or predictor.published is not None or len(names) < 2 * NUM_PARTS:
        return []
    part_of = dict(
        zip(names, np.random.default_rng([seed, len(names)]).permutation(len(names)) % NUM_PARTS, strict=True)
    )
    parts = np.array([part_of[name] for name in records.group_names])
    groups = np.array([names.index(name) for name in records.group_names], dtype=np.int64)
    bound = predictor.bind(space)
    encodings = bound.encode(records.population)
    targets = TARGETS[predictor.target].from_accuracy(records.accuracies)
    found: list[Predict] = []
    for part in range(NUM_PARTS):
        kept = parts != part
        model = MODELS.get(predictor.name).fit(encodings[kept], targets[kept], groups[kept], seed=seed)
        found.append(means(replace(bound, predictor=replace(predictor, model=model))))
    return found


def means(predict: BoundPredictor) -> Predict:
    return lambda population: predict(population).mean


def _variants(space: SearchSpace, rng: np.random.Generator) -> Iterator[tuple[Gene, list[Population]]]:
    """For each gene: random networks with it, once with each of its options."""
    pool = space.sample(_POOL, rng)
    active = space.active(pool)
    # a gene that is off has no option of its own, and may be switched on by one that is changed
    pool = np.where(active, pool, rng.integers(space.genome.num_options, size=pool.shape))
    for number, gene in enumerate(space.genes):
        rows = pool[active[:, number]][:NUM_NETWORKS]
        if len(rows) < 2 or len(gene.options) < 2:
            continue
        variants = []
        for option in range(len(gene.options)):
            changed = rows.copy()
            changed[:, number] = option
            variants.append(space.canonical(changed))
        yield gene, variants


@dataclass(frozen=True)
class _Changed:
    """What a step of a gene did to the networks tried."""

    gene: str
    gains: Floats  # (1 + num_parts, num): by the predictor, then by each that was fitted with less
    changes: Mapping[str, Floats]  # each (num,)


def _step(name: str, step: tuple[str, Value, Value], alike: Sequence[_Changed], level: float) -> Step:
    _, start, end = step
    gains = np.concatenate([one.gains for one in alike], axis=1)
    changes = {cost: np.concatenate([one.changes[cost] for one in alike]) for cost in alike[0].changes}
    if float(next(iter(changes.values())).mean()) < 0:
        start, end, gains = end, start, -gains
        changes = {cost: -change for cost, change in changes.items()}
    mean_changes = {cost: float(change.mean()) for cost, change in changes.items()}
    return Step(
        gene=name,
        num_genes=len(alike),
        start=start,
        end=end,
        num=gains.shape[1],
        gain=_quotient(gains, np.ones(gains.shape[1]), level),
        changes=mean_changes,
        gain_per={cost: _quotient(gains, change, level) for cost, change in changes.items() if mean_changes[cost] != 0},
    )


def _quotient(gains: Floats, change: Floats, level: float) -> Quotient:
    """Mean gain over mean change, with both errors of the gain: the predictor's, and of the networks tried."""
    per = float(change.mean())
    value = float(gains[0].mean()) / per
    num_parts, num = len(gains) - 1, gains.shape[1]
    if num_parts == 0:
        return Quotient(value, None, None)
    told = gains[1:].mean(axis=1) / per
    variance = (num_parts - 1) * float(told.var()) + float((gains[0] - value * change).var(ddof=1)) / num / per**2
    half = float(scipy.stats.t.ppf((1 + level) / 2, num_parts - 1)) * float(np.sqrt(variance))
    return Quotient(value, value - half, value + half)
