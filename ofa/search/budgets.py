"""Budgets: named upper limits on costs, as text (`latency=5ms`, `latency@phone=30%`) and resolved to base units."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.units import METRICS, Quantity, format_quantity, parse_quantity

if TYPE_CHECKING:
    from search_spaces.costs import CostTable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

#: Metrics that belong to a device: their costs are named `latency@DEVICE`.
DEVICE_METRICS = ("latency", "energy", "instructions", "cycles")

#: Metrics that the table of a board tells (`peak_memory@BOARD`); without one they are estimates of the space's own.
BOARD_METRICS = ("peak_memory", "flash")


@dataclass(frozen=True)
class Budget:
    """Upper limits as the user wrote them: `metric` or `metric@device` -> amount."""

    name: str
    constraints: dict[str, Quantity]
    written: dict[str, str]
    key: str = ""
    """What the user calls a limit of it, up to the cost: `search.budgets.small.` or `--max `."""


@dataclass(frozen=True)
class ResolvedBudget:
    """Upper limits in base units by the name of the cost (`macs`, `latency@DEVICE`)."""

    name: str
    limits: dict[str, float]
    written: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return " and ".join(f"{name} <= {format_cost(limit, name)}" for name, limit in self.limits.items())


def parse_budget(name: str, limits: Mapping[str, str | int | float], *, file: object = None) -> Budget:
    """A budget of a config; `UserError` names the offending key (below `search.budgets`) and value."""
    key = name
    if not _NAME.fullmatch(name):
        raise UserError(
            "a budget's name becomes a folder: letters, digits, dot, dash and underscore", file=_text(file), key=key
        )
    if not limits:
        raise UserError("holds no limit", file=_text(file), key=key, hint="Write for example latency: 5ms")
    constraints = {cost: _parse(cost, text, file=file, key=f"{key}.{cost}") for cost, text in limits.items()}
    return Budget(name, constraints, {cost: str(text) for cost, text in limits.items()}, f"search.budgets.{name}.")


def parse_max(texts: Sequence[str], *, name: str = "max") -> Budget:
    """The budget of repeated `--max COST=AMOUNT` options."""
    constraints: dict[str, Quantity] = {}
    written: dict[str, str] = {}
    for text in texts:
        cost, separator, amount = text.partition("=")
        cost = cost.strip()
        if not separator:
            raise UserError(f"{text!r} is not of the form metric=amount", key="--max", hint="Write like latency=5ms")
        if cost in constraints:
            raise UserError(f"{cost} is limited twice", key="--max", value=text)
        constraints[cost] = _parse(cost, amount, key="--max")
        written[cost] = amount.strip()
    if not constraints:
        raise UserError("no limit given", key="--max", hint="Write like --max latency=5ms")
    return Budget(name, constraints, written, "--max ")


def metric_of(cost: str) -> str:
    """The metric of a cost's name: `latency` of `latency@phone`."""
    return cost.partition("@")[0]


def device_of(cost: str) -> str | None:
    """The device of a cost's name, if it has one."""
    return cost.partition("@")[2] or None


def physical_device(device: str) -> str:
    """The device that a column of a table is of: `phone` of `phone+2`, which is a phone beside two busy processes."""
    base, _, busy = device.rpartition("+")
    return base if base and busy.isdecimal() else device


def format_cost(value: float, cost: str) -> str:
    return format_quantity(value, metric_of(cost))


def cost_name(cost: str, devices: Sequence[str], *, default: str | None = None, key: str | None = None) -> str:
    """The full name of a cost: a plain `latency` is that of the default device, or of the only one.

    `UserError` for an unknown device, or a plain metric where several devices could be meant.
    """
    if metric_of(cost) not in DEVICE_METRICS:
        return metric_of(cost)
    return _of_device(cost, devices, default=default, key=key)


def _of_device(cost: str, devices: Sequence[str], *, default: str | None, key: str | None) -> str:
    metric, device = metric_of(cost), device_of(cost)
    if device is None:
        device = default if default is not None else devices[0] if len(devices) == 1 else None
        if device is None and not devices:
            hint = "List a device under devices: in the config, or give a table with --device TABLE.json"
            raise UserError(f"a limit on {metric} needs a table of a device", key=key, hint=hint)
        if device is None:
            hint = f"Write for example {metric}@{devices[0]}. Devices: {', '.join(devices)}"
            raise UserError(f"{metric} of which device?", key=key, hint=hint)
    if device not in devices:
        raise unknown_name("device", device, devices, key=key or cost)
    return f"{metric}@{device}"


def resolve(
    budget: Budget,
    costs: Mapping[str, CostTable],
    *,
    default_device: str | None = None,
    capacities: Mapping[str, float] | None = None,
) -> ResolvedBudget:
    """Turn names into full names, and per cents into the share of the way from the cheapest network to the dearest.

    Both ends are exact minima and maxima over the space. `capacities` are what devices have of a cost
    (`flash@stm32f746`): limits too, for a budget that names their device, or none. `UserError` for a cost that `costs`
    does not hold.
    """
    limits: dict[str, float] = {}
    texts: dict[str, str] = {}
    for written, quantity in budget.constraints.items():
        key = f"{budget.key}{written}"
        name = full_name(written, costs, default=default_device, key=key)
        if name not in costs:
            raise unknown_name("cost", name, costs, key=key)
        if name in limits:
            raise UserError(f"{name} is limited twice", key=key)
        limits[name] = _amount(quantity, costs[name])
        if limits[name] <= 0:  # a table whose correction goes below zero: ratios to such a limit mean nothing
            what = f"{budget.written[written]} comes to {limits[name]:.4g}, which is not positive"
            raise UserError(what, key=key)
        texts[name] = budget.written[written]
    named = {device for name in limits if (device := device_of(name)) is not None}
    for name, capacity in (capacities or {}).items():
        if named and device_of(name) not in named:
            continue
        if name not in limits or limits[name] > capacity:
            limits[name] = capacity
            there = f"{format_cost(capacity, name)} are there"
            texts[name] = f"{texts[name]}, but {there}" if name in texts else there
    return ResolvedBudget(budget.name, limits, texts)


def full_name(written: str, costs: Collection[str], *, default: str | None = None, key: str | None = None) -> str:
    """The one of `costs` that is meant: as `cost_name`; a plain `energy` is that of the only device whose energy is
    known, and a plain `flash` that of the only board, if there is one.
    """
    metric, devices = metric_of(written), sorted({device for cost in costs if (device := device_of(cost)) is not None})
    own = [device for device in devices if f"{metric}@{device}" in costs]
    if metric in BOARD_METRICS and (own or device_of(written) is not None):
        return _of_device(written, own, default=default if default in own else None, key=key)
    if device_of(written) is not None or metric not in DEVICE_METRICS or not devices:
        return cost_name(written, devices, default=default, key=key)
    if not own:
        known = ", ".join(cost for cost in costs if device_of(cost) is not None)
        raise UserError(f"no table here tells the {metric} of a device", key=key, hint=f"They tell {known}")
    alone = {physical_device(device) for device in own}
    if default not in own and len(alone) == 1 and alone <= {*own}:
        default = alone.pop()  # the others are its columns
    return cost_name(written, own, default=default if default in own else None, key=key)


def ascending(budgets: Sequence[ResolvedBudget], costs: Mapping[str, CostTable]) -> list[ResolvedBudget]:
    """Smallest budgets first: whoever is within another in every limit comes before it."""

    def openness(budget: ResolvedBudget) -> float:
        total = 0.0
        for name, table in costs.items():
            low, high = table.minimum()[0], table.maximum()[0]
            share = (budget.limits.get(name, high) - low) / max(high - low, 1e-300)
            total += min(share, 1.0)
        return total

    return sorted(budgets, key=openness)


def _amount(quantity: Quantity, table: CostTable) -> float:
    if not quantity.relative:
        return quantity.value
    low, high = table.minimum()[0], table.maximum()[0]
    return (low + quantity.value * (high - low)) * (1 + 1e-12)  # 0 % must admit the cheapest, whatever the rounding


def _parse(cost: str, text: str | float, *, file: object = None, key: str | None = None) -> Quantity:
    metric, separator, device = cost.partition("@")
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS, file=file, key=key)
    if separator and (not device or metric not in DEVICE_METRICS + BOARD_METRICS):
        hint = f"Only {' and '.join(DEVICE_METRICS + BOARD_METRICS)} belong to a device, written like latency@DEVICE"
        raise UserError(f"{cost!r} names no cost", file=_text(file), key=key, hint=hint)
    return parse_quantity(text, metric, file=file, key=key)


def _text(file: object) -> str | None:
    return None if file is None else str(file)
