"""What a training costs in MACs before it begins, and how long a recipe may train for the MACs of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training.setting import Setting
from search_spaces import SearchSpace
from search_spaces.common.files import append_line, digest, read_lines
from trainers.accounting import planned_macs
from trainers.phases import make_plan
from trainers.settings import TrainSettings

#: Training MACs of one core in a second, measured on networks of 1 to 8 M MACs; for estimates of time only.
MACS_PER_SECOND = 9e9


@dataclass(frozen=True)
class Budget:
    """How long a training is, and the MACs that its steps are going to cost."""

    epochs: float
    macs: float


def budget_of(setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any], epochs: float) -> Budget:
    """That of a recipe (the sections `space` and `train`, the latter without epochs), with the first of the seeds."""
    settings = TrainSettings(**{**train, "epochs": epochs})
    built = setting.build_space(space)
    plan = make_plan(built, settings, seed=setting.recipe_seeds[0], steps_per_epoch=setting.steps_per_epoch)
    macs = planned_macs(built, plan, batch_size=settings.batch_size, micro_batch=settings.group_size)
    return Budget(epochs, float(macs.total))


def equal_budget(setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any], macs: float) -> Budget:
    """The budget, in whole steps, with which a recipe spends `macs`: a short plan says about how long, the MACs of that
    length what is missing (counting is slow, and MACs grow evenly with the steps).
    """
    probe = budget_of(setting, space, train, setting.epochs / 10)
    found = budget_of(setting, space, train, _whole_steps(setting, probe.epochs * macs / probe.macs))
    epochs = _whole_steps(setting, found.epochs * macs / found.macs)
    return Budget(epochs, found.macs * epochs / found.epochs)


def _whole_steps(setting: Setting, epochs: float) -> float:
    return max(1, round(epochs * setting.steps_per_epoch)) / setting.steps_per_epoch


def fixed_macs(setting: Setting, space: SearchSpace, epochs: float, *, teacher: bool = False) -> float:
    """MACs of training the one network of `space`; `teacher`: beside the largest network of the whole space."""
    table = space.cost("macs")
    macs, row = table.maximum()
    stem = float(table.contributions(row[None])[0, 0])  # images need no gradient
    taught = setting.build_space().cost("macs").maximum()[0] if teacher else 0.0
    images = round(epochs * setting.steps_per_epoch) * int(setting.train["batch_size"])
    return images * (3 * macs - stem + taught)


class KnownBudgets:
    """Budgets that were worked out already, in `budgets.jsonl` beside the results: counting takes up to a minute.

    Keeping them also keeps all seeds of a recipe at one length, whatever becomes of the code meanwhile.
    """

    def __init__(self, results: Path | None) -> None:
        self.path = None if results is None else results / "budgets.jsonl"
        lines = [] if self.path is None else read_lines(self.path, "list of budgets")
        self.known = {line["inputs"]: Budget(line["epochs"], line["macs"]) for line in lines}

    def get(
        self, setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any], *, macs: float | None = None
    ) -> Budget:
        """That of the setting's epochs (`macs` None), or the one that spends `macs`."""
        inputs = digest([setting.epochs, setting.steps_per_epoch, setting.recipe_seeds[0], space, train, macs])
        if inputs not in self.known:
            if macs is None:
                found = budget_of(setting, space, train, setting.epochs)
            else:
                found = equal_budget(setting, space, train, macs)
            self.known[inputs] = found
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                append_line(self.path, {"inputs": inputs, "epochs": found.epochs, "macs": found.macs})
        return self.known[inputs]
