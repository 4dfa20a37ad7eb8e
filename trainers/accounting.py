"""What training costs: the multiply-accumulates that steps really carry out, counted as the space counts them.

A convolution of M MACs costs M forward and 2 M backward (the gradients of its weights and of its input; the images need
none). Operators that subnets of a step have in common run once and count once. Evaluation, BN recalibration and
optimiser are not training steps and not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from search_spaces import Architecture, SearchSpace
from search_spaces.costs import CostTable
from trainers.phases import Phase, Plan
from trainers.sampling.sampler import Subnet
from trainers.sampling.sharing import shared_starts

#: what the wall time of a run is divided into
Part = Literal["data", "selection", "forward_backward", "optimizer", "bookkeeping", "pauses"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates by what they were for. `selection`: looking at candidates of attentive sampling."""

    forward: int = 0
    backward: int = 0
    teacher: int = 0
    selection: int = 0

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.teacher + self.selection

    def __add__(self, other: Macs) -> Macs:
        return Macs(
            self.forward + other.forward,
            self.backward + other.backward,
            self.teacher + other.teacher,
            self.selection + other.selection,
        )


@dataclass(frozen=True, eq=False)
class StepCosts:
    """The MACs of any step of a plan over `space`. `micro_batch`: images that candidates are looked at on."""

    space: SearchSpace
    plan: Plan
    batch_size: int
    micro_batch: int
    limit: Callable[[Architecture], int] | None = None
    """How many first operators may be shared, where random layers forbid it; see `shared_starts`."""
    teacher_space: SearchSpace | None = None
    """The space whose largest network is the teacher, where training came with one; else that of the first phase."""
    _prefixes: dict[Architecture, tuple[int, ...]] = field(default_factory=dict)

    def of(self, phase: Phase, subnets: Sequence[Subnet]) -> Macs:
        """The MACs of one step over the global batch."""
        forward = backward = selection = 0
        for subnet in subnets:
            through = self._through(subnet.architecture)
            forward += through[-1]
            backward += 2 * through[-1] - through[0]
            if subnet.rivals:
                selection += sum(self._through(a)[-1] for a in (subnet.architecture, *subnet.rivals))
        for shared in shared_starts(self.space, subnets, phase.settings, self.limit):
            through, again = self._through(subnets[shared.members[0]].architecture), len(shared.members) - 1
            forward -= again * through[shared.num - 1]
            backward -= again * (2 * through[shared.num - 1] - through[0])
        teacher = 0
        if phase.settings.distillation == "teacher":
            sides = {self.teacher_resolution or subnet.architecture.resolution for subnet in subnets}
            teacher = sum(self._teacher(side) for side in sides)
        return Macs(
            forward * self.batch_size,
            backward * self.batch_size,
            teacher * self.batch_size,
            selection * self.micro_batch,
        )

    def _through(self, architecture: Architecture) -> tuple[int, ...]:
        """MACs of one image up to and with each operator of the network."""
        if architecture not in self._prefixes:
            if len(self._prefixes) >= 1_000:  # about 2 kB each, and most are drawn once
                self._prefixes.clear()
            present = [name for name, _ in self.space.network(architecture)]
            values = self._macs.contributions(self.space.encode([architecture]))[0]
            by_slot = dict(zip(self._macs.slots, values.tolist(), strict=True))
            self._prefixes[architecture] = tuple(np.cumsum([by_slot[name] for name in present]).astype(int).tolist())
        return self._prefixes[architecture]

    def _teacher(self, resolution: int) -> int:
        largest, costs = self._teacher_network
        architecture = Architecture({**largest.values, "resolution": resolution})
        return int(costs.evaluate(costs.genome.encode([architecture]))[0])

    @cached_property
    def teacher_resolution(self) -> int | None:
        """The resolution of the teacher where it takes no other, as transformers do; None if it takes any."""
        largest, _ = self._teacher_network
        return None if (self.teacher_space or self.space).fits_any_resolution(largest) else largest.resolution

    @cached_property
    def _teacher_network(self) -> tuple[Architecture, CostTable]:
        """The teacher at some resolution, and the MACs of networks of its space at any."""
        space = self.teacher_space or self.plan.phases[0].space
        (largest,) = space.decode(space.largest())
        return largest, (self.teacher_space or self.space).cost("macs")

    @cached_property
    def _macs(self) -> CostTable:
        return self.space.cost("macs")


def share_of_steps(seconds: Mapping[Part, float], part: Part) -> float:
    """What `part` has of the time of steps, pauses left out; 0 before there was any."""
    total = sum(spent for name, spent in seconds.items() if name != "pauses")
    return seconds[part] / total if total > 0 else 0.0


def planned_macs(space: SearchSpace, plan: Plan, *, batch_size: int, micro_batch: int) -> Macs:
    """What a whole plan will cost, from the subnets that its samplers will draw; no training takes part.

    Exact, except that attentive sampling is taken to choose the first of its candidates, which are of about one size,
    and that no random layer (dropout, drop-path) is taken to stand in what subnets share.
    """
    costs = StepCosts(space, plan, batch_size, micro_batch)
    spent = Macs()
    for step in range(plan.num_steps):
        phase = plan.phase_at(step)
        spent += costs.of(phase, phase.sampler.subnets(step))
    return spent


@dataclass
class Ledger:
    """What a run has spent so far, over all its interruptions (steps that a crash threw away are not in it).

    `cpu_seconds` is that of the first process, all threads; `wall_seconds` counts only while training runs.

    `seconds` divides the wall time up to the last `mark` by what the first process was at. `data`: waiting for a batch
    or making it; `selection`: attentive sampling looks at its candidates; `forward_backward`: losses, gradients and
    their sum over all processes; `optimizer`: clipping, update and weight average; `bookkeeping`: drawing subnets,
    learning rate, cost accounting, looking at losses, log; `pauses`: start, change of phase, evaluations, checkpoints.

    On CUDA these are times of the host, which runs ahead of the device: each part has what it takes to launch its work,
    and the time the device takes beyond that stands where the host waits for it, in `bookkeeping` whenever losses are
    looked at (and in `selection`). Nothing is synchronised for the sake of these figures.
    """

    macs: Macs = Macs()
    images: int = 0
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    seconds: dict[Part, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    def __post_init__(self) -> None:
        self._since = time.monotonic(), time.process_time()
        self._marked = self._since[0]

    def mark(self, part: Part) -> None:
        """The time since the last mark, or since this ledger began, went into `part`."""
        now = time.monotonic()
        self.seconds[part] += now - self._marked
        self._marked = now

    def add(self, macs: Macs, images: int) -> None:
        self.macs += macs
        self.images += images

    def to_json(self) -> dict[str, Any]:
        """`{forward_macs, backward_macs, teacher_macs, selection_macs, images, wall_seconds, cpu_seconds,
        seconds: {part: wall seconds}}`.
        """
        self._count_time()
        return {
            **{f"{key}_macs": value for key, value in asdict(self.macs).items()},
            "images": self.images,
            "wall_seconds": round(self.wall_seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "seconds": {part: round(seconds, 3) for part, seconds in self.seconds.items()},
        }

    @classmethod
    def from_json(cls, found: Any) -> Ledger:
        """The ledger of a checkpoint; one without any (of an older version) starts at nothing."""
        if not isinstance(found, dict):
            return cls()
        macs = Macs(**{key: int(found[f"{key}_macs"]) for key in asdict(Macs())})
        known = found.get("seconds", {})
        seconds = {part: float(known.get(part, 0.0)) for part in PARTS}
        return cls(macs, int(found["images"]), float(found["wall_seconds"]), float(found["cpu_seconds"]), seconds)

    def _count_time(self) -> None:
        now = time.monotonic(), time.process_time()
        self.wall_seconds += now[0] - self._since[0]
        self.cpu_seconds += now[1] - self._since[1]
        self._since = now
