"""One device of the `devices:` section: what runs the network, and how long to measure it."""

from __future__ import annotations

from pydantic import Field, field_validator

from latency_tables.runtimes import RUNTIMES
from search_spaces.common.settings import Settings


class DeviceSettings(Settings):
    """A runtime on this machine and the sampling plan of its latency table.

    Every item (operator, whole network, empty call) gets one sample a round, the median of a few calls; all items of a
    round come in random order, so that a slow minute of the machine hurts every item alike.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    runtime: str
    threads: int = Field(default=1, ge=1, le=1024)
    rounds: int = Field(default=20, ge=1)
    min_rounds: int = Field(default=5, ge=1)
    """Rounds (or all, if fewer) that are measured even when `time_budget_s` is spent."""
    instances: int = Field(default=3, ge=1)
    """How often in the course of the rounds every item is prepared anew: where its buffers happen to lie in memory
    alone moves the latency of a network by 2 or 3 %."""
    warmup: int = Field(default=3, ge=1)
    """Untimed calls when an item is first prepared."""
    sample_ms: float = Field(default=1.0, gt=0, le=10_000)
    """Calls of one item in a sample last about this long together, but are at least `min_calls`."""
    min_calls: int = Field(default=3, ge=1)
    retries: int = Field(default=1, ge=0)
    """How often a sample is taken again when the operating system gave the core to someone else meanwhile."""
    time_budget_s: float = Field(default=900.0, gt=0)
    fit_networks: int = Field(default=16, ge=4)
    """Whole networks the correction from operator sums to network latency is fitted on."""
    holdout: int = Field(default=24, ge=20)
    """Random whole networks, disjoint from those, that the table's own error is measured on."""
    memory_mb: int = Field(default=1024, ge=64)
    """Items are prepared (weights, sessions) in batches of at most about this much memory."""

    @field_validator("runtime")
    @classmethod
    def _known_runtime(cls, value: str) -> str:
        RUNTIMES.get(value)
        return value
