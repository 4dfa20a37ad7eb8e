"""Which networks the experiment looks at: fixed by the space and one seed, the same for every recipe and training."""

from __future__ import annotations

import numpy as np

from benchmarks.training.setting import Setting
from predictors.sampling import record_list
from search_spaces import Architecture, SearchSpace


def evaluated_architectures(setting: Setting, space: SearchSpace) -> list[Architecture]:
    """The smallest, the largest and others spread evenly over log MACs, by rising MACs."""
    rows = record_list(space, setting.num_evaluated, seed=setting.architecture_seed, sampling="stratified")
    order = np.argsort(space.cost("macs").evaluate(rows), kind="stable")
    return space.decode(rows[order])


def alone_architectures(setting: Setting, space: SearchSpace) -> list[Architecture]:
    """Those of the evaluated ones that are trained alone: both ends, and every so many between them."""
    evaluated = evaluated_architectures(setting, space)
    places = np.linspace(0, len(evaluated) - 1, min(setting.num_alone, len(evaluated))).round().astype(int)
    return [evaluated[place] for place in places]


def sizes(space: SearchSpace, architectures: list[Architecture]) -> list[dict[str, float]]:
    """MACs, parameters and depth (blocks) of each: what a ranking must beat."""
    rows = space.encode(architectures)
    macs, params = (space.cost(metric).evaluate(rows) for metric in ("macs", "params"))
    depths = [len(space.network(architecture)) for architecture in architectures]
    return [
        {"macs": float(m), "params": float(p), "depth": float(d)} for m, p, d in zip(macs, params, depths, strict=True)
    ]
