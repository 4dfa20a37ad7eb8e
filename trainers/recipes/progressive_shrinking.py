"""OFA's progressive shrinking: the largest network first, then elastic kernel, depth, expand ratio and width in turn.

Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment",
https://arxiv.org/abs/1908.09791. The published run (ImageNet, batch 2048) is 180 epochs of the largest network
at learning rate 2.6, then the stages below; epochs and learning rates keep these proportions under any total.
Every later stage learns from the labels and from the first stage's network.
"""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces import SearchSpace
from search_spaces.common.errors import UserError
from search_spaces.operators import FORMS
from trainers.settings.phase import PhaseSettings
from trainers.settings.train import TrainSettings

Restriction = dict[str, list[int | float | str]]


@dataclass(frozen=True)
class Stage:
    """`options`: how many of the largest options of each dimension are open (a dimension not named is wholly open)."""

    name: str
    dimension: str
    epochs: float
    lr: float
    warmup_epochs: float
    num_subnets: int
    options: dict[str, int]
    sort_channels: bool = False


_CLOSED = {"kernel": 1, "depth": 1, "stem_depth": 1, "expand": 1, "width": 1}

#: What is opened together with a dimension of the published network: what transformers have instead of it.
_ALIKE = {
    "layers": "depth",
    **dict.fromkeys(("keep", "attention", "heads", "mlp", "attention_rank", "mlp_rank"), "expand"),
    "embed": "width",
}

#: The last two are not published: a width of stages is what only residual networks have, opened like the expand ratio.
STAGES = (
    Stage("largest", "", 180, 2.6, 5, 1, _CLOSED),
    Stage("kernel", "kernel", 125, 0.96, 5, 1, {"depth": 1, "stem_depth": 1, "expand": 1, "width": 1}),
    Stage("depth_1", "depth", 25, 0.08, 0, 2, {"depth": 2, "expand": 1, "width": 1}),
    Stage("depth_2", "depth", 125, 0.24, 5, 2, {"expand": 1, "width": 1}),
    Stage("expand_1", "expand", 25, 0.08, 0, 4, {"expand": 2, "width": 1}, sort_channels=True),
    Stage("expand_2", "expand", 125, 0.24, 5, 4, {"width": 1}, sort_channels=True),
    Stage("width_1", "width", 25, 0.08, 0, 4, {"width": 2}),
    Stage("width_2", "width", 125, 0.24, 5, 4, {}),
)


def progressive_shrinking(space: SearchSpace, settings: TrainSettings) -> tuple[PhaseSettings, ...]:
    """The stages that open something new in this space, over `settings.epochs`; resolution is elastic from the start.

    A dimension with two options has only the long one of its two stages. `settings.optimizer.lr` is that of the
    first stage.
    """
    stages: list[tuple[Stage, Restriction]] = []
    size = 0
    for stage in STAGES:
        restrict = _largest_options(space, stage.options)
        opened = _restricted_size(space, restrict)
        if opened != size:
            stages.append((stage, restrict))
        elif stages[-1][0].dimension == stage.dimension:
            stages[-1] = stage, restrict
        size = opened
    scale = settings.epochs / sum(stage.epochs for stage, _ in stages)
    return tuple(
        PhaseSettings(
            name=stage.name,
            epochs=stage.epochs * scale,
            restrict=restrict,
            sampling="largest" if number == 0 else "random",
            num_subnets=settings.num_subnets or stage.num_subnets,
            share_resolution=True,
            distillation="none" if number == 0 else "teacher",
            sort_channels=stage.sort_channels,
            lr=settings.optimizer.lr * stage.lr / STAGES[0].lr,
            warmup_epochs=stage.warmup_epochs * scale,
        )
        for number, (stage, restrict) in enumerate(stages)
    )


def _largest_options(space: SearchSpace, options: dict[str, int]) -> Restriction:
    """{choice: its n largest values} for every choice of the named groups that has more than n."""
    restrict: Restriction = {}
    for name, choice in space.genome.choices.items():
        values = sorted(set(space.genome.option_values(name).tolist()), key=_size_of)
        num = options.get(_ALIKE.get(choice.group, choice.group), len(values))
        if num < len(values):
            restrict[name] = values[-num:]
    return restrict


def _size_of(value: int | float | str) -> float:
    """What values are ordered by; of the ways to mix tokens, the dearest is the largest."""
    return -FORMS.index(value) if isinstance(value, str) else value


def _restricted_size(space: SearchSpace, restrict: Restriction) -> int:
    try:
        return space.restrict(restrict).size
    except UserError as error:
        raise UserError(
            f"progressive shrinking cannot open {space.name} one dimension after the other: {error}",
            key="train.recipe",
            hint="Use the sandwich or random_subnets recipe",
        ) from None
