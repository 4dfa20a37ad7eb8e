"""How one sample is taken here: as the runner of a bundle takes it on its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from latency_tables.remote.on_device import timing
from latency_tables.samples import Sample

Call = Callable[[], object]


def take_sample(
    calls: Mapping[str, Call], *, passes: int, retries: int = 0, limit_ms: float | None, beside: bool = False
) -> Sample:
    """Run the group `passes` times and take each item's median over the undisturbed passes, those beside which a pulse
    took `limit_ms` at most; over all without a limit.

    Disturbed passes are made up for, by `retries` times as many at most. If none was undisturbed, the sample is not
    either. `beside` work on purpose, interruptions are what is measured: the mean of all passes counts.
    """
    items = list(calls.values())
    if beside:
        timing.time_passes(items, 1)  # what ran before has emptied the caches
        ms = [sum(times) / passes for times in timing.time_passes(items, passes)[0]]
        return Sample(dict(zip(calls, ms, strict=True)))
    ms, disturbed, pulse_ms = timing.take_sample(items, passes, retries, limit_ms)
    return Sample(dict(zip(calls, ms, strict=True)), disturbed=disturbed, pulse_ms=pulse_ms)
