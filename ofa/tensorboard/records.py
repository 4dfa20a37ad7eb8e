"""Records as TensorBoard's hyperparameters: genes in, accuracy and costs out, for its table and parallel coordinates.

TensorBoard wants a folder of its own for each (500: 4 MB, 0.3 s); what is there already is not written again. They
stand beside the folder of the training, not in it: of more than 500 runs TensorBoard shows none until they are chosen,
and the curves of the training would be hidden among them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ofa.tensorboard.events import NAME, scalars, write_events

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from predictors.record_file import Records
    from search_spaces import SearchSpace
    from search_spaces.costs import CostTable
    from search_spaces.genome import Population

FOLDER = "tensorboard_records"
_FILE = f"{NAME}.record"
_ACCURACY = "accuracy"


def write_records(
    folder: Path, space: SearchSpace, records: Records, costs: Mapping[str, CostTable], *, most: int
) -> int:
    """Bring `folder` to hold up to `most` records, those a search asked about first; how many it holds.

    The columns are in the order of `costs`, and TensorBoard shows only the first few without being asked.

    A record of a run never changes, so those that are there stay as they are.
    """
    order = np.argsort([origin != "search" for origin in records.origins], kind="stable")[:most]
    shown = records.take(order)
    there = {path.parent.name for path in folder.glob(f"*/{_FILE}")}
    for key in there - set(shown.keys):
        shutil.rmtree(folder / key, ignore_errors=True)
    new = shown.take(np.array([i for i, key in enumerate(shown.keys) if key not in there], dtype=np.int64))
    if not len(shown):
        return 0
    # without a time: equal records make equal files
    write_events(folder / f"{NAME}.experiment", [_experiment(space, shown.population, costs)], now=0.0)
    genes = gene_values(space, new.population)
    outcomes = {_ACCURACY: new.accuracies, **{name: table.evaluate(new.population) for name, table in costs.items()}}
    for i, key in enumerate(new.keys):
        measured = scalars({_tag(name): float(values[i]) for name, values in outcomes.items()})
        write_events(folder / key / _FILE, [_session(key, genes[i]), measured], now=0.0)
    return len(shown)


def gene_values(space: SearchSpace, population: Population) -> list[dict[str, float | str]]:
    """For every network its genes with more than one option. One that is switched off has the value 0 (`off` where
    values are words): TensorBoard leaves networks out of its plots that lack a value.
    """
    active, shown = space.active(population), _shown_options(space)
    return [
        {
            space.genes[number].name: options[row[number]] if on[number] else _off(options)
            for number, options in shown.items()
        }
        for row, on in zip(population, active, strict=True)
    ]


def _shown_options(space: SearchSpace) -> dict[int, list[float] | list[str]]:
    """The options of every gene that has a choice, by its number: all numbers or all words, as TensorBoard wants."""
    shown: dict[int, list[float] | list[str]] = {}
    for number, gene in enumerate(space.genes):
        if len(gene.options) > 1:
            words = any(isinstance(option, str) for option in gene.options)
            shown[number] = [str(o) for o in gene.options] if words else [float(o or 0) for o in gene.options]
    return shown


def _off(options: Sequence[float] | Sequence[str]) -> float | str:
    return "off" if isinstance(options[0], str) else 0.0


def _tag(outcome: str) -> str:
    return f"record/{outcome}"


def _session(key: str, genes: Mapping[str, float | str]) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # type: ignore[import-untyped]

    return hparams_pb(dict(genes), trial_id=key, start_time_secs=0.0)


def _experiment(space: SearchSpace, population: Population, costs: Mapping[str, CostTable]) -> Any:
    """Which columns there are, in which order, and the values a gene can have."""
    from tensorboard.plugins.hparams.summary_v2 import Discrete, HParam, Metric, hparams_config_pb

    always: NDArray[np.bool_] = np.all(space.active(population), axis=0)
    genes = [
        HParam(space.genes[number].name, Discrete({*options} if always[number] else {*options, _off(options)}))
        for number, options in _shown_options(space).items()
    ]
    metrics = [Metric(_tag(_ACCURACY), display_name=_ACCURACY)]
    metrics += [Metric(_tag(name), display_name=f"{name} ({table.unit or 'number'})") for name, table in costs.items()]
    return hparams_config_pb(genes, metrics, time_created_secs=0.0)
