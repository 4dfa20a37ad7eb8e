"""The plan of a training run: phases one after the other, each over its own sub-space, counted in steps."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings
from trainers.recipes import RECIPES
from trainers.sampling.sampler import Sampler, Subnet
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings


@dataclass(frozen=True)
class Phase:
    """A phase with its place in the run. Steps are counted from the start of the run.

    The learning rate follows a schedule of `schedule_steps` steps from `schedule_start` on: the phase's own, or that of
    the phase which it continues.
    """

    index: int
    settings: PhaseSettings
    space: SearchSpace
    sampler: Sampler
    first_step: int
    num_steps: int
    schedule_start: int
    schedule_steps: int
    warmup_steps: int
    lr: float
    weight_decay: float

    @property
    def label_weight(self) -> float:
        """Weight of the label loss of a distilled subnet."""
        if self.settings.label_weight is not None:
            return self.settings.label_weight
        return 0.0 if self.settings.distillation == "in_place" else 1.0

    def gradient_weights(self, subnets: Sequence[Subnet], step: int, lr: float) -> list[float] | None:
        """What the gradients of subnets are multiplied with, where learning rates decay by complexity (None: nothing).

        Jeon et al., https://arxiv.org/abs/2503.10740: networks of many MACs learn more slowly, so their rate decays
        less. At a share f of the peak rate, a subnet with exponent g has f^g of it; as a step has one rate for all,
        its gradient is weighed by f^(g - 1). For plain SGD this is the same; warm-up is left alone.
        """
        decay = self.settings.decay
        if decay is None:
            return None
        if step - self.schedule_start < self.warmup_steps:
            return [1.0] * len(subnets)
        places = [self.sampler.place(subnet.architecture) for subnet in subnets]
        exponents = [decay.smallest + (decay.largest - decay.smallest) * place for place in places]
        return [(lr / self.lr) ** (exponent - 1.0) for exponent in exponents]


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
    chosen = _phase_settings(space, settings)
    phases: list[Phase] = []
    epochs_before = 0.0
    for index, phase in enumerate(chosen):
        first = phases[-1].first_step + phases[-1].num_steps if phases else 0
        epochs_before += phase.epochs
        num_steps = max(1, round(epochs_before * steps_per_epoch) - first)
        warmup = settings.schedule.warmup_epochs if phase.warmup_epochs is None else phase.warmup_epochs
        sub_space = _restricted(space, phase, index)
        own = Phase(
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
                jump=phase.jump,
                num_rivals=0 if phase.attentive is None else phase.attentive.of - 1,
            ),
            first_step=first,
            num_steps=num_steps,
            schedule_start=first,
            schedule_steps=num_steps,
            warmup_steps=min(round(warmup * steps_per_epoch), num_steps - 1),
            lr=phase.lr or settings.optimizer.lr,
            weight_decay=settings.optimizer.weight_decay if phase.weight_decay is None else phase.weight_decay,
        )
        phases.append(own)
    phases = _with_continued_schedules(phases)
    total = phases[-1].first_step + phases[-1].num_steps
    return Plan(tuple(phases), steps_per_epoch, min(total, settings.max_steps or total))


def _phase_settings(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """The phases of a recipe, with what `each_phase` says, or those written out."""
    chosen = settings.phases
    if chosen is None:
        assert settings.recipe is not None
        recipe = RECIPES.get(settings.recipe, key="train.recipe")(space, settings)
        chosen = tuple(
            phase
            if phase.sampling == "largest"
            else parse_settings(
                PhaseSettings, phase.model_dump(exclude_unset=True) | settings.each_phase, prefix="train.each_phase"
            )
            for phase in recipe
        )
    if chosen[0].distillation == "teacher" and (settings.init is None or settings.init.run is None):
        raise UserError(
            "the first phase has no teacher: its own largest subnet becomes the teacher of later phases",
            key="train.phases.0.distillation",
            value="teacher",
        )
    if chosen[0].continues:
        raise UserError("the first phase has none before it to go on with", key="train.phases.0.continues", value=True)
    return chosen


def _with_continued_schedules(phases: Sequence[Phase]) -> list[Phase]:
    """A phase that continues the one before has its schedule, which lasts until the last of them."""
    found: list[Phase] = []
    for leader in (phase for phase in phases if not phase.settings.continues):
        after = itertools.takewhile(lambda phase: phase.settings.continues, phases[leader.index + 1 :])
        followers = list(after)
        steps = sum(phase.num_steps for phase in (leader, *followers))
        found += [
            replace(
                phase,
                schedule_start=leader.first_step,
                schedule_steps=steps,
                warmup_steps=leader.warmup_steps,
                lr=leader.lr,
                weight_decay=leader.weight_decay,
            )
            for phase in (leader, *followers)
        ]
    return found


def _restricted(space: SearchSpace, phase: PhaseSettings, index: int) -> SearchSpace:
    try:
        return space.restrict(phase.restrict)
    except UserError as error:
        raise UserError(f"{error}", key=f"train phase {index} ({phase.name}), restrict") from None
