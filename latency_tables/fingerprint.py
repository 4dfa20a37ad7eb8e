"""Which machine, runtime and mode a table was measured on: latencies of another one mean nothing here."""

from __future__ import annotations

import os
import platform

from latency_tables.remote.on_device.device import cpu_model
from latency_tables.runtimes.base import Runtime
from search_spaces.common.settings import Settings


class DeviceFingerprint(Settings):
    """Two equal fingerprints: tables of the one may be used on the other."""

    cpu: str
    cores: int
    machine: str
    os: str
    runtime: str
    runtime_version: str
    threads: int
    precision: str
    contention: int = 0
    """Background processes that computed meanwhile."""

    def differences(self, other: DeviceFingerprint) -> list[str]:
        """What tells `other` from this one: `["threads: 1 here, 2 there"]`; empty if nothing does."""
        here, there = self.model_dump(), other.model_dump()
        return [f"{key} {here[key]!r} here, {there[key]!r} there" for key in here if here[key] != there[key]]


def fingerprint(runtime: Runtime, *, threads: int, contention: int = 0) -> DeviceFingerprint:
    """The fingerprint of this machine with `runtime` on `threads` threads, beside `contention` busy processes."""
    return DeviceFingerprint(
        cpu=cpu_model(),
        cores=os.cpu_count() or 1,
        machine=platform.machine(),
        os=platform.system(),
        runtime=runtime.name,
        runtime_version=runtime.version,
        threads=threads,
        precision=runtime.precision,
        contention=contention,
    )
