"""When a run shows its search in TensorBoard: at every round of the evaluating loop, and when winners are named.

tensorboard --logdir RUN/tensorboard            curves of the training, pictures of the trade-off
tensorboard --logdir RUN/tensorboard_records    records as hyperparameters
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofa.search.stage import Problem, load_problem
from ofa.tensorboard.pareto import write_pictures
from ofa.tensorboard.records import FOLDER, write_records
from predictors.record_file import Records, load_records
from predictors.records import process_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ofa.config import RunConfig
    from search_spaces.costs import CostTable

#: records shown as hyperparameters: what TensorBoard draws in its parallel coordinates without trouble
MOST = 500


def show_round(problem: Problem) -> None:
    """What is known before the next round of the loop, as pictures. Of several processes the first does so."""
    if process_of()[0] == 0:
        write_pictures(problem.run, _records(problem), problem.costs, _traded(problem))


def show_search(run: Path, config: RunConfig, facts: Mapping[str, Any]) -> None:
    """A finished search: pictures with its winners (`facts`: its results), and its records as hyperparameters."""
    problem = load_problem(run, config)
    records = _records(problem)
    write_pictures(run, records, problem.costs, _traded(problem), facts["budgets"])
    write_records(run / FOLDER, problem.space, records, _devices_first(problem.costs), most=MOST)


def _records(problem: Problem) -> Records:
    path = problem.run / "records.jsonl"
    return load_records(path, space=problem.space, weights_sha256=problem.weights_sha256)


def _traded(problem: Problem) -> list[str]:
    """What is limited, and the latency on every device."""
    limited = [name for budget in problem.budgets for name in budget.limits]
    return list(dict.fromkeys([*limited, *(name for name in problem.costs if name.startswith("latency@"))]))


def _devices_first(costs: Mapping[str, CostTable]) -> dict[str, CostTable]:
    return {name: costs[name] for name in sorted(costs, key=lambda name: "@" not in name)}
