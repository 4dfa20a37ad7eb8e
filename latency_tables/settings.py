"""One device of the `devices:` section: what runs the network, and how long to measure it; or a board, which is
emulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from latency_tables.cortex_m.boards import get_board
from latency_tables.runtimes import RUNTIMES
from search_spaces.common.errors import UserError
from search_spaces.common.settings import Settings

#: of a device in a config
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class DeviceSettings(Settings):
    """A runtime on this machine and the sampling plan of its latency table.

    Every item (operator, whole network, empty call) gets one sample a round, the median of a few calls, until its
    median is certain enough; all items of a round come in random order, so that a slow minute of the machine hurts
    every item alike.
    """

    name: _Name
    runtime: str
    threads: int = Field(default=1, ge=1, le=1024)
    contention: int = Field(default=0, ge=0, le=1024)
    """Background processes that compute all the while: latency as it is beside other work."""
    rounds: int = Field(default=20, ge=1)
    """Samples that an item gets at most."""
    min_rounds: int = Field(default=6, ge=1)
    """Samples (or all, if fewer) that every item gets, even when `time_budget_s` is spent."""
    precision: float = Field(default=0.01, gt=0)
    """An item has enough samples when its median is certain to this share of it (half the 95 % interval)."""
    instances: int = Field(default=3, ge=1)
    """How often in the course of the rounds every item is prepared anew: where its buffers happen to lie in memory
    alone moves the latency of a network by 2 or 3 %."""
    warmup: int = Field(default=3, ge=1)
    """Untimed calls when an item is first prepared (of one that takes over 50 ms: one)."""
    sample_ms: float = Field(default=1.0, gt=0, le=10_000)
    """Calls of one item in a sample last about this long together, but are at least `min_calls` (of one that takes over
    50 ms: one)."""
    min_calls: int = Field(default=3, ge=1)
    retries: int = Field(default=4, ge=0)
    """So many times the calls of a sample are made again at most, where the operating system gave the core to someone
    else meanwhile, or a neighbour on the same host slowed it."""
    pin: bool = True
    """Whether the threads stay on the quietest cores, where the system can do that."""
    max_other_load: float | None = Field(default=0.1, ge=0, le=1)
    """The share of the machine's cores that other processes may keep busy. Beyond it measuring waits, and what was
    taken meanwhile is taken again. null: the machine is not watched, and times are taken as they come.
    """
    patience_s: float = Field(default=300.0, ge=0)
    """How long measuring waits for a quiet machine, in all, before it gives up (and keeps what it has)."""
    max_drift: float = Field(default=0.1, gt=0)
    """By how much the machine's speed may differ from its usual one, from moment to moment and from round to round:
    samples of other moments are taken again, and `ofa validate` calls a table outdated beyond it. Interleaving takes
    care of less: all items share it alike.
    """
    time_budget_s: float = Field(default=900.0, gt=0)
    fit_networks: int = Field(default=16, ge=4)
    """Whole networks the correction from operator sums to network latency is fitted on."""
    holdout: int = Field(default=24, ge=20)
    """Random whole networks, disjoint from those, that the table's own error is measured on."""
    memory_mb: int | None = Field(default=None, ge=64)
    """Items are prepared (weights, sessions) in batches of at most about this much memory. null: a third of what is
    free."""

    @field_validator("runtime")
    @classmethod
    def _known_runtime(cls, value: str) -> str:
        RUNTIMES.get(value)
        return value


class BoardSettings(Settings):
    """A microcontroller board: nothing is timed there. What networks take of it is counted and planned, and what comes
    out is an int8 network that ran in an emulator with the board's memory.
    """

    name: _Name
    board: str
    """One of those that come with the project, or the path of a YAML file."""
    compiler: Literal["zig", "gcc"] = "zig"
    memory_plan: Literal["naive", "overwriting"] = "overwriting"
    holdout: int = Field(default=50, ge=1)
    """Whole networks that the table is checked on."""

    @model_validator(mode="before")
    @classmethod
    def _not_timed(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "runtime" in data:
            message = "a device is a board or a runtime of this machine, not both"
            raise UserError(message, key="runtime", value=data["runtime"], hint="Write two devices")
        return data

    @field_validator("board")
    @classmethod
    def _known_board(cls, value: str) -> str:
        get_board(value)
        return value


def _kind(device: Any) -> str:
    board = "board" in device if isinstance(device, Mapping) else isinstance(device, BoardSettings)
    return "a board" if board else "a runtime"


#: an entry of the `devices:` section
AnyDevice = Annotated[
    Annotated[DeviceSettings, Tag("a runtime")] | Annotated[BoardSettings, Tag("a board")], Discriminator(_kind)
]
