"""How much of a training the largest network of a space saw: not the same as how many epochs the data went by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.training.cell import Cell
from search_spaces import SearchSpace
from trainers.phases import Plan, make_plan
from trainers.sampling.sampler import Subnet
from trainers.settings.train import TrainSettings

#: steps of a plan that are looked at
_STEPS = 300


def epochs_seen(space: SearchSpace, plan: Plan) -> float:
    """Epochs that the average weight of the largest network was trained for.

    A step counts by the share of the largest network's parameters that its subnets use, taken together. A plan that
    trains the largest network in every step sees it for all of its epochs; one random subnet a step, for fewer.
    """
    params = space.cost("params")
    whole = params.contributions(space.largest()[None])[0]
    steps = np.unique(np.linspace(0, plan.num_steps - 1, min(_STEPS, plan.num_steps)).round().astype(int))

    def share(subnets: Sequence[Subnet]) -> float:
        rows = space.encode([subnet.architecture for subnet in subnets])
        used = np.minimum(params.contributions(rows).max(axis=0), whole)
        return float(used.sum() / whole.sum())

    shares = [share(plan.phase_at(int(step)).sampler.subnets(int(step))) for step in steps]
    return float(np.mean(shares)) * plan.num_steps / plan.steps_per_epoch


def seen_by_the_largest(cell: Cell) -> float:
    """`epochs_seen` of the training of a cell."""
    steps = cell.setting.steps_per_epoch
    plan = make_plan(cell.built_space, TrainSettings(**cell.train), seed=cell.seed, steps_per_epoch=steps)
    return epochs_seen(cell.built_space, plan)
