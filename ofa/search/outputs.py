"""Which architectures a search hands over, and to which files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofa.search.several_devices import UNIVERSAL
from search_spaces.common.errors import Infeasible
from search_spaces.common.files import write_json


def write_architectures(output: Path, facts: Mapping[str, Any]) -> None:
    """Write the best architecture of a search to `output`, which must end well or not be there.

    Of several devices the universal one; that of each device's winner goes beside it (`best.json`, `best.phone.json`).
    Raises `Infeasible` where there is no universal one, after the others are written; `details` are the facts.
    """
    best, devices = (
        _of_study(facts) if "sampler" in facts else _of_run(facts) if "budgets" in facts else _offline(facts)
    )
    for device, architecture in devices.items():
        write_json(output.with_name(f"{output.stem}.{device}{output.suffix}"), architecture)
    if best is None and not devices:
        raise Infeasible(f"{output}: not written, because no network evaluated keeps the limits", details=dict(facts))
    if best is None:
        message = f"{output}: not written, because no network keeps the limits of all devices"
        hint = f"Each device's winner was: {output.stem}.{next(iter(devices))}{output.suffix}, ..."
        raise Infeasible(f"{message}. {hint}", details=dict(facts))
    write_json(output, best)


def _offline(facts: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    best = facts["candidates"][0]["architecture"] if facts["candidates"] else None
    winners = facts.get("winners", {})
    return best, {device: found["winner"]["architecture"] for device, found in winners.items()}


def _of_study(facts: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    return None if facts["best"] is None else facts["best"]["architecture"], {}


def _of_run(facts: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    winners = {budget["name"]: budget["winner"]["architecture"] for budget in facts["budgets"]}
    if "universal" not in facts:
        return list(winners.values())[-1], {}
    return winners.pop(UNIVERSAL, None), winners
