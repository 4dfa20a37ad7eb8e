"""What came back from a device: the results of one or several runs of a bundle's runner, checked and united."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from latency_tables.fingerprint import DeviceFingerprint
from latency_tables.remote.bundle import Bundle
from latency_tables.remote.manifest import Sha256
from latency_tables.samples import Samples
from latency_tables.table import Conditions, Ms
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json
from search_spaces.common.settings import Settings, parse_settings

Number = Annotated[int, Field(strict=True, ge=0)]
Load = Annotated[float, Field(ge=0)] | None


class ItemSamples(Settings):
    """Milliseconds of one call, one number a sample; those that were interrupted apart."""

    ms: list[Ms]
    disturbed_ms: list[Ms]


class RunConditions(Settings):
    load_start: Load
    load_end: Load
    num_samples: Number
    num_disturbed: Number
    drift: Annotated[float, Field(ge=0)]
    """Largest deviation of the device's speed from its usual one, where samples still count."""


class Plan(Settings):
    rounds: Annotated[int, Field(strict=True, ge=1)]
    threads: Annotated[int, Field(strict=True, ge=1)]
    time_budget_s: float
    memory_mb: int


class Results(Settings):
    """One run of the runner: `results.json`."""

    # `schema` is a method of pydantic's models
    version: Annotated[Literal[1], Field(alias="schema")]
    manifest_sha256: Sha256
    run: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Drawn when it began: the same run twice is no more samples."""
    device: DeviceFingerprint
    plan: Plan
    created: str
    conditions: RunConditions
    samples: dict[str, ItemSamples]


@dataclass(frozen=True)
class United:
    """The samples of all runs on one device."""

    device: DeviceFingerprint
    samples: Mapping[str, Samples]
    conditions: Conditions
    created: str
    """When the last of them ended."""
    rounds: int
    """The most samples of any item."""


def read_results(paths: Sequence[Path], bundle: Bundle) -> United:
    """Read the results of one device and unite their samples. Raises `UserError`, with file and key, for results that
    are damaged, of another bundle or device, given twice, or that lack items or samples.
    """
    runs = [(path, _read(path, bundle)) for path in paths]
    first_path, first = runs[0]
    seen: dict[str, Path] = {}
    for path, results in runs:
        if results.run in seen:
            raise UserError(f"is the same run as {seen[results.run]}", file=path, key="run", value=results.run)
        seen[results.run] = path
        if differences := first.device.differences(results.device):
            told = "; ".join(differences).replace(" here", f" in {first_path}").replace(" there", " in this one")
            raise UserError(f"was measured on another device: {told}", file=path, key="device")
    samples: dict[str, Samples] = {item.key: Samples() for item in bundle.manifest.items}
    for _, results in runs:
        for key, values in results.samples.items():
            for ms in values.ms:
                samples[key].add(ms, disturbed=False)
            for ms in values.disturbed_ms:
                samples[key].add(ms, disturbed=True)
    _check_enough(samples, bundle, paths)
    conditions = [results.conditions for _, results in runs]
    num = sum(part.num_samples for part in conditions)
    return United(
        device=first.device,
        samples=samples,
        conditions=Conditions(
            load_start=conditions[0].load_start,
            load_end=conditions[-1].load_end,
            disturbed=sum(part.num_disturbed for part in conditions) / num if num else 0.0,
            drift=max(part.drift for part in conditions),
        ),
        created=max(results.created for _, results in runs),
        rounds=max(map(len, samples.values())),
    )


def _read(path: Path, bundle: Bundle) -> Results:
    data = read_json(path, "results file")
    if not isinstance(data, dict) or "manifest_sha256" not in data:
        hint = "Give the results.json that the bundle's runner.py wrote"
        raise UserError("not a results file", file=path, key="manifest_sha256", hint=hint)
    results = parse_settings(Results, data, file=path)
    manifest = bundle.manifest
    if results.manifest_sha256 != bundle.sha256:
        what = f"measured with another bundle than {bundle.path}, whose manifest has the sha256 {bundle.sha256}"
        raise UserError(what, file=path, key="manifest_sha256", value=results.manifest_sha256)
    for key, found, wanted in (
        ("device.runtime", results.device.runtime, manifest.runtime.name),
        ("device.precision", results.device.precision, manifest.precision),
        ("plan.threads", results.plan.threads, results.device.threads),
    ):
        if found != wanted:
            raise UserError(f"should be {wanted!r}", file=path, key=key, value=found)
    if results.conditions.num_disturbed > results.conditions.num_samples:
        what = f"more than all {results.conditions.num_samples} samples"
        raise UserError(what, file=path, key="conditions.num_disturbed", value=results.conditions.num_disturbed)
    known = {item.key for item in manifest.items}
    if strange := [key for key in results.samples if key not in known]:
        raise UserError("no model of the bundle", file=path, key=f"samples.{strange[0]}")
    return results


def _check_enough(samples: Mapping[str, Samples], bundle: Bundle, paths: Sequence[Path]) -> None:
    files = ", ".join(map(str, paths))
    hint = "Let runner.py finish on the device, or give further results of it with another --import"
    if missing := [key for key, values in samples.items() if not len(values)]:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        what = f"{len(missing)} of {len(samples)} models were not measured: {listed}"
        raise UserError(what, file=files, key="samples", hint=hint)
    settings = bundle.manifest.settings
    wanted = min(settings.min_rounds, settings.rounds)
    if few := {key: len(values) for key, values in samples.items() if len(values) < wanted}:
        key, num = next(iter(few.items()))
        what = f"{num} sample{'s' if num > 1 else ''}, but at least {wanted} are needed"
        what += f" ({len(few)} of {len(samples)} models have too few)"
        raise UserError(what, file=files, key=f"samples.{key}", hint=hint)
