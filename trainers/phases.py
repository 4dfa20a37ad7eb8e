"""The plan of a training run: phases one after the other, each over its own sub-space, counted in steps."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from functools import cached_property

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from trainers.recipes import RECIPES
from trainers.sampler import Sampler
from trainers.settings import PhaseSettings, TrainSettings


@dataclass(frozen=True)
class Phase:
    """A phase with its place in the run. `first_step` is counted from the start of the run."""

    index: int
    settings: PhaseSettings
    space: SearchSpace
    sampler: Sampler
    first_step: int
    num_steps: int
    warmup_steps: int
    lr: float
    weight_decay: float

    @property
    def label_weight(self) -> float:
        """Weight of the label loss of a distilled subnet."""
        if self.settings.label_weight is not None:
            return self.settings.label_weight
        return 0.0 if self.settings.distillation == "in_place" else 1.0


@dataclass(frozen=True)
class Plan:
    """All phases. `num_steps` is what the run does: the whole plan, or less if `max_steps` cuts it."""

    phases: tuple[Phase, ...]
    steps_per_epoch: int
    num_steps: int

    @cached_property
    def _firsts(self) -> list[int]:
        return [phase.first_step for phase in self.phases]

    def phase_at(self, step: int) -> Phase:
        """The phase that step number `step` (from 0) belongs to."""
        return self.phases[bisect.bisect_right(self._firsts, step) - 1]

    def needs_teacher(self) -> bool:
        return any(phase.settings.distillation == "teacher" for phase in self.phases)


def make_plan(space: SearchSpace, settings: TrainSettings, *, seed: int, steps_per_epoch: int) -> Plan:
    """Resolve recipe or explicit phases into steps. Fractions of epochs are rounded so that the total is right."""
    if steps_per_epoch < 1:
        raise UserError(
            "the train split has fewer images than one batch",
            key="train.batch_size",
            value=settings.batch_size,
            hint="Set a smaller batch_size",
        )
    chosen = settings.phases
    if chosen is None:
        assert settings.recipe is not None
        chosen = RECIPES.get(settings.recipe, key="train.recipe")(space, settings)
    if chosen[0].distillation == "teacher" and (settings.init is None or settings.init.run is None):
        raise UserError(
            "the first phase has no teacher: its own largest subnet becomes the teacher of later phases",
            key="train.phases.0.distillation",
            value="teacher",
        )
    phases: list[Phase] = []
    epochs_before = 0.0
    for index, phase in enumerate(chosen):
        first = phases[-1].first_step + phases[-1].num_steps if phases else 0
        epochs_before += phase.epochs
        num_steps = max(1, round(epochs_before * steps_per_epoch) - first)
        warmup = settings.schedule.warmup_epochs if phase.warmup_epochs is None else phase.warmup_epochs
        sub_space = _restricted(space, phase, index)
        phases.append(
            Phase(
                index=index,
                settings=phase,
                space=sub_space,
                sampler=Sampler(
                    space=sub_space,
                    rule=phase.sampling,
                    num_random=phase.num_subnets,
                    seed=seed,
                    phase=index,
                    share_resolution=phase.share_resolution,
                    draw=phase.draw,
                ),
                first_step=first,
                num_steps=num_steps,
                warmup_steps=min(round(warmup * steps_per_epoch), num_steps - 1),
                lr=phase.lr or settings.optimizer.lr,
                weight_decay=settings.optimizer.weight_decay if phase.weight_decay is None else phase.weight_decay,
            )
        )
    total = phases[-1].first_step + phases[-1].num_steps
    return Plan(tuple(phases), steps_per_epoch, min(total, settings.max_steps or total))


def _restricted(space: SearchSpace, phase: PhaseSettings, index: int) -> SearchSpace:
    try:
        return space.restrict(phase.restrict)
    except UserError as error:
        raise UserError(f"{error}", key=f"train phase {index} ({phase.name}), restrict") from None
