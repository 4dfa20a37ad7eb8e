from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from latency_tables import timing
from latency_tables.settings import DeviceSettings
from latency_tables.timing import Sample, Samples, instances, measure_rounds, quiet_process, summarize, take_sample

Device = Callable[..., DeviceSettings]


class Recorder:
    """Items that note when they are called, and the samples taken of them."""

    def __init__(self, *keys: str) -> None:
        self.called: list[str] = []
        self.samples: list[Sample] = []
        self.calls = {key: self._call(key) for key in keys}

    def _call(self, key: str) -> Callable[[], object]:
        return lambda: self.called.append(key)

    def taken(self) -> Counter[str]:
        return Counter(key for sample in self.samples for key in sample.ms)


def run(items: Recorder, networks: Recorder, device: DeviceSettings, **changes: object) -> None:
    arguments = {"group_size": 3, "taken": {}, "rounds": range(device.rounds), "record": items.samples.append}
    measure_rounds(items.calls, networks.calls, device=device, **{**arguments, **changes})  # type: ignore[arg-type]


def test_every_item_gets_one_sample_a_round_in_new_groups(device: Device) -> None:
    items, networks = Recorder(*"abcdefg"), Recorder("x", "y")
    run(items, networks, device(rounds=6))
    assert items.taken() == Counter(dict.fromkeys("abcdefgxy", 6))
    groups = [frozenset(sample.ms) for sample in items.samples]
    assert {len(group) for group in groups if not group & set("xy")} == {3, 4}
    assert all(group == {"x"} or group == {"y"} for group in groups if group & set("xy"))
    assert len(set(groups)) > 8, "the same groups every round"
    assert all(ms > 0 for sample in items.samples for ms in sample.ms.values())
    again = Recorder(*"abcdefg")
    run(again, Recorder("x", "y"), device(rounds=6))
    assert [frozenset(sample.ms) for sample in again.samples] == groups


def test_samples_already_taken_are_not_taken_again(device: Device) -> None:
    items = Recorder(*"abcd")
    run(items, Recorder(), device(rounds=3), taken={"a": 3, "b": 1, "z": 5}, group_size=1)
    assert items.taken() == Counter({"b": 2, "c": 3, "d": 3})


def test_spent_budget_ends_after_the_least_rounds(device: Device) -> None:
    items = Recorder("a")
    run(items, Recorder(), device(rounds=9, min_rounds=4), deadline=-math.inf)
    assert items.taken() == Counter({"a": 4})


def test_rounds_are_shared_out_among_instances(device: Device) -> None:
    assert instances(device(rounds=7, instances=3)) == [range(2), range(2, 5), range(5, 7)]
    assert instances(device(rounds=2, instances=5)) == [range(1), range(1, 2)]


def test_interrupted_samples_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = iter([(np.array([[9.0], [9.0]]), 0.5), (np.array([[2.0], [4.0]]), 0.99), (np.array([[1.0]]), 1.0)])
    monkeypatch.setattr(timing, "_time_passes", lambda calls, passes: next(attempts))
    sample = take_sample({"a": lambda: None}, passes=2, retries=5, single_thread=True)
    assert sample == Sample({"a": 3.0}, disturbed=False)


def test_least_interrupted_sample_counts_when_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [0.5, 0.8, 0.6]
    attempts = iter([(np.array([[10 * share]]), share) for share in shares])
    monkeypatch.setattr(timing, "_time_passes", lambda calls, passes: next(attempts))
    sample = take_sample({"a": lambda: None}, passes=1, retries=2, single_thread=True)
    assert sample == Sample({"a": 8.0}, disturbed=True)


def test_core_share_means_nothing_with_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_time_passes", lambda calls, passes: (np.array([[1.0]]), 0.1))
    assert not take_sample({"a": lambda: None}, passes=1, retries=0, single_thread=False).disturbed


def test_summary() -> None:
    summary = summarize([5.0, 1.0, 3.0, 2.0, 4.0])
    assert (summary.median_ms, summary.count) == (3.0, 5)
    assert summary.p10_ms == pytest.approx(1.4) and summary.p90_ms == pytest.approx(4.6)


def test_disturbed_samples_count_only_where_there_is_little_else() -> None:
    samples = Samples()
    for ms, disturbed in ((9.0, True), (1.0, False), (8.0, True), (2.0, False)):
        samples.add(ms, disturbed=disturbed)
    assert samples.summary() == summarize([9.0, 1.0, 8.0, 2.0])
    samples.add(3.0, disturbed=False)
    assert samples.summary() == summarize([1.0, 2.0, 3.0]) and len(samples) == 5


def test_quiet_process_restores_threads_and_collection() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), quiet_process(before + 1):
        assert torch.get_num_threads() == before + 1 and not gc.isenabled()
        raise RuntimeError
    assert torch.get_num_threads() == before and gc.isenabled()
