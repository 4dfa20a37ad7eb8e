"""What is measured: items of lanes, run in turn, and the comparisons between lanes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

#: What one call of a task returned: `seconds`, `count` (operations in it, default 1) and what else is worth keeping.
Record = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """The object a worker process holds: `load(**arguments)` of the module `benchmarks.peer.SIDE.MODULE`."""

    side: Literal["theirs", "ours"]
    module: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def _no_inputs(repetition: int) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Lane:
    """A series of repetitions of one task in one process. `inputs(r)` are the arguments of repetition r.

    `warmup`: arguments of the call before the first repetition, which is not counted (None: those of repetition 0).
    `repeats`: at most so many repetitions, where the lane is slow.
    """

    key: str
    title: str
    process: str
    task: str
    inputs: Callable[[int], Mapping[str, Any]] = _no_inputs
    warmup: Mapping[str, Any] | None = None
    warm: bool = True
    repeats: int | None = None


@dataclass(frozen=True)
class Comparison:
    """The ratio of a lane to its base, from pairs of the same repetition.

    `time`: seconds a repetition over those of the base (`wanted`: at most). `rate`: operations a second over those of
    the base (`wanted`: at least). With `groups`, repetition r belongs to group r modulo `groups` (say, a subnet); the
    result is the mean over groups of the group's median.
    """

    title: str
    lane: str
    base: str
    kind: Literal["time", "rate"] = "time"
    wanted: float | None = None
    groups: int | None = None


@dataclass(frozen=True)
class Check:
    """Something that is right or wrong, beside what is fast or slow (`met` None: only told)."""

    title: str
    found: str
    met: bool | None = None


class Session(Protocol):
    """The running processes of an item and what they have returned so far."""

    records: dict[str, list[Record]]

    def ask(self, process: str, task: str, arguments: Mapping[str, Any]) -> Record: ...


@dataclass(frozen=True)
class Item:
    """One table of the benchmark. `minutes` is about what it takes on 2 quiet cores."""

    key: str
    title: str
    parts: Mapping[str, Part]
    lanes: Sequence[Lane]
    comparisons: Sequence[Comparison]
    repeats: int
    minutes: float
    needs_data: bool = False
    check: Callable[[Session], list[Check]] | None = None

    @property
    def letter(self) -> str:
        """The group it belongs to, `a` to `e`."""
        return self.key[0]


@dataclass(frozen=True)
class Options:
    """How the items are run. `short`: small sizes and few repetitions, to see that everything works."""

    short: bool = False
    repeats: int | None = None
    threads: int = 2
    data: str | None = None
    """Folder with the published tables and predictors, if there is one."""
