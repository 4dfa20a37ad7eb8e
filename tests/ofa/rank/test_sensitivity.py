from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ofa.rank.sensitivity import NUM_PARTS, Predict, Step, gene_steps, means, refitted
from predictors.base import Published
from predictors.fit import fit_records
from predictors.record_file import Records
from predictors.settings import PredictorSettings
from search_spaces import SearchSpace


def additive(space: SearchSpace, extra: dict[str, float]) -> Predict:
    """Accuracy as a sum over switched-on genes: `extra[gene]` for every option further."""
    worth = np.array([extra.get(gene.name, 0.0) for gene in space.genes])
    return lambda rows: 0.5 + (rows * space.active(rows)) @ worth


def steps_of(space: SearchSpace, predict: Predict, others: list[Predict]) -> tuple[list[Step], list[Step]]:
    return gene_steps(space, predict, others, {"macs": space.cost("macs")}, level=0.9, seed=0)


def test_gains_and_prices_of_an_additive_accuracy(space: SearchSpace) -> None:
    predict = additive(space, {"kernel.0": 0.03, "expand.0": -0.01})
    steps, kinds = steps_of(space, predict, [predict] * 5)
    assert len(steps) == sum(len(gene.options) - 1 for gene in space.genes)
    by_name = {(step.gene, step.start): step for step in steps}
    kernel = by_name["kernel.0", 3]
    assert (kernel.end, kernel.gain.value) == (5, pytest.approx(0.03)) and kernel.gain.tells is True
    assert kernel.gain_per["macs"].value == pytest.approx(0.03 / kernel.changes["macs"])
    assert steps[0] is kernel and by_name["expand.0", 4].gain.value == pytest.approx(-0.01)
    unused = by_name["kernel.2", 3]
    assert unused.gain.value == pytest.approx(0) and unused.gain.tells is False
    assert all(step.changes["macs"] > 0 for step in steps)
    pooled = {(step.gene, step.start): step for step in kinds}["kernel", 3]
    alike = [step for step in steps if step.gene.startswith("kernel.")]
    assert pooled.num_genes == len(alike) and pooled.num == sum(step.num for step in alike)
    assert pooled.gain.value == pytest.approx(sum(s.num * s.gain.value for s in alike) / pooled.num)


def test_a_step_is_told_in_the_direction_that_costs_more(space: SearchSpace) -> None:
    predict = additive(space, {"resolution": 0.02})
    backwards = replace(space.cost("macs"), tables=tuple(-table for table in space.cost("macs").tables))
    steps, _ = gene_steps(space, predict, [predict] * 3, {"latency@odd": backwards}, level=0.9, seed=0)
    resolution = next(step for step in steps if step.gene == "resolution")
    assert (resolution.start, resolution.end) == (24, 20)
    assert resolution.gain.value == pytest.approx(-0.02) and resolution.changes["latency@odd"] > 0


def test_what_the_predictors_disagree_on_is_noise(space: SearchSpace) -> None:
    predict = additive(space, {"kernel.0": 0.03, "resolution": 0.03})
    others = [
        additive(space, {"kernel.0": 0.03, "resolution": 0.03 + 0.02 * shift}) for shift in np.linspace(-1, 1, 10)
    ]
    steps, _ = steps_of(space, predict, others)
    told = {step.gene: step.gain for step in steps}
    assert told["kernel.0"].tells is True and told["resolution"].tells is False
    # the jackknife's variance: (parts - 1) / parts times the squared deviations; t of 9 degrees of freedom
    half = 1.8331 * np.sqrt(0.9 * np.sum((0.02 * np.linspace(-1, 1, 10)) ** 2))
    assert told["resolution"].upper == pytest.approx(0.03 + half, rel=1e-3)
    unknown, _ = steps_of(space, predict, [])
    assert {step.gain.tells for step in unknown} == {None} and unknown[0].gain.lower is None


def test_refits_leave_out_a_part_each(space: SearchSpace, records: Records) -> None:
    predictor = fit_records(space, records, PredictorSettings(candidates=("ridge",), bootstrap=100), quiet=True)
    others = refitted(predictor, space, records, seed=0)
    rows = space.sample(50, np.random.default_rng(1))
    whole = means(predictor.bind(space))(rows)
    told = np.stack([one(rows) for one in others])
    assert len(told) == NUM_PARTS and 0 < np.abs(told - whole).max() < 0.05
    assert len({row.tobytes() for row in told}) == NUM_PARTS
    steps, _ = steps_of(space, means(predictor.bind(space)), others)
    resolution = next(step for step in steps if step.gene == "resolution")
    assert resolution.gain.tells is True and resolution.gain.value > 0  # four tenths more MACs, and accuracy is in MACs
    published = replace(predictor, published=Published("x", "y", None, None), grade=None)
    assert refitted(published, space, records, seed=0) == []
    few = records.of(("search",))
    assert refitted(predictor, space, few, seed=0) == []
