from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch

from latency_tables import timing
from latency_tables.other_work import OtherWork
from latency_tables.remote.on_device import timing as on_device
from latency_tables.samples import Ledger, Sample
from latency_tables.settings import DeviceSettings
from latency_tables.timing import Plan, measure_rounds, plans, quiet_process
from search_spaces.common.errors import UserError

Device = Callable[..., DeviceSettings]

pytestmark = pytest.mark.usefixtures("nobody_disturbs")


class Recorder(Ledger):
    """Items that note when they are called, and the samples taken of them."""

    def __init__(self, operators: str, networks: str = "", **settings: float) -> None:
        super().__init__(**settings)
        self.called: list[str] = []
        self.groups: list[frozenset[str]] = []
        self.operators, self.networks = ({key: self._call(key) for key in keys} for keys in (operators, networks))

    def _call(self, key: str) -> Callable[[], object]:
        return lambda: self.called.append(key)

    def record(self, sample: Sample) -> None:
        self.groups.append(frozenset(sample.ms))
        super().record(sample)


class Scripted(OtherWork):
    """Other work that is seen when the script says so: one share for every check."""

    def __init__(self, shares: list[float], limit: float = 0.1) -> None:
        super().__init__(limit, patience_s=0.0)
        self.shares, self.waits = iter(shares), 0

    def check(self) -> float | None:
        return next(self.shares, 0.0)

    def wait(self, *, kept: str) -> None:
        self.waits += 1


def run(items: Recorder, device: DeviceSettings, **changes: object) -> None:
    plan = Plan(least=device.min_rounds, most=device.rounds, precision=device.precision)
    arguments = {"group_size": 3, "plan": plan, "others": OtherWork(None, 0.0)}
    measure_rounds(items.operators, items.networks, ledger=items, device=device, **{**arguments, **changes})  # type: ignore[arg-type]


def test_every_item_gets_one_sample_a_round_in_new_groups(device: Device) -> None:
    items = Recorder("abcdefg", "xy")
    run(items, device(rounds=6))
    assert items.counts() == Counter(dict.fromkeys("abcdefgxy", 6))
    assert {len(group) for group in items.groups if not group & set("xy")} == {3, 4}
    assert all(group == {"x"} or group == {"y"} for group in items.groups if group & set("xy"))
    assert len(set(items.groups)) > 8, "the same groups every round"
    assert all(ms > 0 for samples in items.samples.values() for ms in samples.clean)
    again = Recorder("abcdefg", "xy")
    run(again, device(rounds=6))
    assert again.groups == items.groups


def test_samples_already_taken_are_not_taken_again(device: Device) -> None:
    items = Recorder("abcd")
    for keys in ("ab", "a", "a"):
        items.record(Sample(dict.fromkeys(keys, 1.0)))
    run(items, device(rounds=3), group_size=1)
    assert items.counts() == Counter(dict.fromkeys("abcd", 3))


def test_small_groups_are_filled_up(device: Device) -> None:
    """An operator that needs more samples than the others is still timed among as many as a network has."""
    items = Recorder("abcdefg")
    for _ in range(3):
        items.record(Sample(dict.fromkeys("abcdef", 1.0)))
    before = len(items.groups)
    run(items, device(rounds=3), group_size=4)
    assert len(items.groups) == before + 3
    assert all("g" in group and len(group) == 4 for group in items.groups[before:])


def test_spent_budget_ends_after_the_least_rounds(device: Device) -> None:
    items = Recorder("a")
    run(items, device(), plan=Plan(least=4, most=9, precision=0.0, deadline=-math.inf))
    assert items.counts() == Counter({"a": 4})


def test_one_call_of_a_slow_item_is_a_sample(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = device(rounds=4, warmup=3, min_calls=3, sample_ms=1e-6)
    quick, slow = Recorder("", "x"), Recorder("", "x")
    run(quick, settings)
    monkeypatch.setattr(timing, "SLOW_MS", 0.0)
    monkeypatch.setattr(on_device, "SLOW_MS", 0.0)
    run(slow, settings)
    # warm-up, and a round: once to fill the caches, then the calls that count
    assert len(quick.called) == 1 + 2 + 3 + 4 * (1 + 3) and len(slow.called) == 2 + 4 * (1 + 1)
    assert quick.counts() == slow.counts() == Counter({"x": 4})


def test_an_item_whose_median_is_certain_needs_no_more(device: Device) -> None:
    items = Recorder("ab")
    for ms in (1.0, 1.001, 1.0, 0.999, 1.0, 1.0):
        items.record(Sample({"a": ms, "b": ms if ms == 1.0 else 3 * ms}))
    run(items, device(), plan=Plan(least=6, most=9, precision=0.01), group_size=1)
    assert items.counts() == Counter({"a": 6, "b": 9})


def test_samples_beside_other_work_are_taken_again(device: Device) -> None:
    items = Recorder("ab")
    others = Scripted([0.0, 0.0, 0.5, 0.0])  # a check a sample: the third one is disturbed
    run(items, device(), plan=Plan(least=3, most=3, precision=0.0), others=others, group_size=1)
    assert items.counts(clean=True) == Counter({"a": 3, "b": 3})
    assert items.num_samples == 7 and items.share_disturbed == pytest.approx(1 / 7)
    assert others.waits == 5  # as each of the four rounds began, and after the disturbed sample


def test_a_machine_that_never_rests_is_refused_and_nothing_lost(device: Device) -> None:
    items = Recorder("a")
    with pytest.raises(UserError, match=r"too restless.*100% of the samples.*kept"):
        run(items, device(rounds=2), others=Scripted([0.5] * 100))
    assert items.num_samples > 2 and not items.counts(clean=True)["a"]


def test_rounds_at_another_speed_are_taken_again(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentinels take a third longer in the fourth reading: the samples on both sides of it do not count."""
    readings = iter([1.0, 1.01, 0.99, 1.33])
    monkeypatch.setattr(timing, "_read", lambda sentinels, watch: {"s": next(readings, 1.0)})
    items = Recorder("ab", max_drift=0.05)
    plan = Plan(least=3, most=3, precision=0.0)
    run(items, device(), plan=plan, others=Scripted([]), sentinels={"s": lambda: None}, group_size=1)
    assert items.counts(clean=True) == Counter({"a": 3, "b": 3})
    assert items.counts() == Counter({"a": 4, "b": 4})
    assert items.drift == pytest.approx(0.01, abs=1e-6)


def test_rounds_are_shared_out_among_instances(device: Device) -> None:
    found = plans(device(rounds=7, min_rounds=4, instances=3))
    assert [(plan.least, plan.most) for plan in found] == [(1, 2), (3, 5), (4, 7)]
    assert [(plan.least, plan.most) for plan in plans(device(rounds=2, instances=5))] == [(1, 1), (2, 2)]


def test_quiet_process_restores_threads_and_collection() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), quiet_process(before + 1):
        assert torch.get_num_threads() == before + 1 and not gc.isenabled()
        raise RuntimeError
    assert torch.get_num_threads() == before and gc.isenabled()
