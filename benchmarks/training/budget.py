"""What a training costs in MACs before it begins, and how long a recipe may train for the MACs of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.training.setting import Setting
from search_spaces import SearchSpace
from search_spaces.common.files import append_line, digest, read_lines
from trainers.accounting import planned_macs
from trainers.phases import make_plan
from trainers.settings.train import TrainSettings

#: Training MACs of one core in a second, measured on networks of 1 to 8 M MACs; for estimates of time only.
MACS_PER_SECOND = 9e9


@dataclass(frozen=True)
class Budget:
    """How long a training is, and the MACs that its steps are going to cost."""

    epochs: float
    macs: float


def budget_of(
    setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any], epochs: float, seed: int | None = None
) -> Budget:
    """That of a recipe (the sections `space` and `train`, the latter without epochs); left out, the first seed's."""
    settings = TrainSettings(**{**train, "epochs": epochs})
    built = setting.build_space(space)
    seed = setting.recipe_seeds[0] if seed is None else seed
    plan = make_plan(built, settings, seed=seed, steps_per_epoch=setting.steps_per_epoch)
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


def walks(setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any]) -> bool:
    """Whether the sizes of this recipe are on a walk, whose average depends on the seed."""
    plan = make_plan(setting.build_space(space), TrainSettings(**train), seed=0, steps_per_epoch=1)
    return any(phase.settings.draw == "walk" for phase in plan.phases)


def own_budget(
    setting: Setting, space: Mapping[str, Any], train: Mapping[str, Any], macs: float, seed: int, start: Budget
) -> Budget:
    """The budget of one seed: `start`, or what comes within 5 % of `macs` where the sizes that this seed draws, on a
    walk, do not average out. A walk of very small steps may have no such length.
    """
    found = budget_of(setting, space, train, start.epochs, seed)
    for _ in range(4):
        if abs(found.macs / macs - 1) <= 0.05:
            break
        found = budget_of(setting, space, train, _whole_steps(setting, found.epochs * macs / found.macs), seed)
    return found


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

    Keeping them also keeps a training at one length, whatever becomes of the code meanwhile.
    """

    def __init__(self, results: Path | None) -> None:
        self.path = None if results is None else results / "budgets.jsonl"
        lines = [] if self.path is None else read_lines(self.path, "list of budgets")
        self.known = {line["inputs"]: Budget(line["epochs"], line["macs"]) for line in lines}

    def get(
        self,
        setting: Setting,
        space: Mapping[str, Any],
        train: Mapping[str, Any],
        *,
        macs: float | None = None,
        seed: int | None = None,
    ) -> Budget:
        """That of the setting's epochs (`macs` None), or the one that spends `macs`, with this seed."""
        inputs = [setting.epochs, setting.steps_per_epoch, setting.recipe_seeds[0], space, train, macs]
        if macs is None:
            return self._known(inputs, lambda: budget_of(setting, space, train, setting.epochs))
        first = self._known(inputs, lambda: equal_budget(setting, space, train, macs))
        if seed is None:
            return first
        return self._known([*inputs, seed], lambda: own_budget(setting, space, train, macs, seed, first))

    def _known(self, inputs: list[Any], work_out: Callable[[], Budget]) -> Budget:
        key = digest(inputs)
        if key not in self.known:
            found = self.known[key] = work_out()
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                append_line(self.path, {"inputs": key, "epochs": found.epochs, "macs": found.macs})
        return self.known[key]
