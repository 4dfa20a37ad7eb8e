from __future__ import annotations

from itertools import chain, repeat

import pytest

from latency_tables.one_sample import take_sample
from latency_tables.remote.on_device import pulse, timing
from latency_tables.remote.on_device.pulse import take_pulse, usual_pulse
from latency_tables.samples import Ledger, Sample
from tests.latency_tables.fake_machine import Machine


def sample(machine: Machine, patch: pytest.MonkeyPatch, *, passes: int = 3, **changes: object) -> Sample:
    with patch.context() as inside:
        machine.install(inside, timing)
        calls = {"a": machine.call(2.0), "b": machine.call(4.0)}
        return take_sample(calls, **{"passes": passes, "retries": 4, "limit_ms": 0.11, **changes})  # type: ignore[arg-type]


def test_passes_beside_a_neighbour_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine takes 1.7 times as long by turns: the undisturbed time comes out, not a mean of both."""
    taken = sample(Machine(chain([1.0, 1.7, 1.7, 1.0], repeat(1.0))), monkeypatch)
    assert taken.ms == pytest.approx({"a": 2.0, "b": 4.0}) and not taken.disturbed
    assert taken.pulse_ms == pytest.approx(0.1)


def test_a_sample_that_is_slow_throughout_is_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(repeat(1.7))
    taken = sample(machine, monkeypatch, passes=3, retries=2)
    assert taken.disturbed and taken.pulse_ms == pytest.approx(0.17)
    assert machine.calls == 2 * (1 + 3 * 3), "made again as often as allowed, and no more"
    assert taken.ms == pytest.approx({"a": 3.4, "b": 6.8})


def test_a_quiet_machine_makes_no_call_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(repeat(1.0))
    assert not sample(machine, monkeypatch, passes=5).disturbed
    assert machine.calls == 2 * (1 + 5)


def test_short_calls_are_not_drowned_in_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(repeat(1.0))
    felt = []
    monkeypatch.setattr(machine, "pulse", lambda: felt.append(1) or 0.1)
    machine.install(monkeypatch, timing)
    take_sample({"a": machine.call(0.01)}, passes=100, retries=4, limit_ms=0.11)
    assert len(felt) <= 3 and machine.calls == 1 + 100


def test_interrupted_passes_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = sample(Machine(repeat(1.0), chain([0.5, 0.5], repeat(1.0))), monkeypatch)
    assert taken.ms == pytest.approx({"a": 2.0, "b": 4.0}) and not taken.disturbed


def test_least_interrupted_passes_count_when_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = sample(Machine(repeat(1.0), iter([0.5, 0.8, 0.6, 0.1])), monkeypatch, passes=1, retries=2)
    assert taken.ms == pytest.approx({"a": 2.5, "b": 5.0}) and taken.disturbed


def test_beside_work_on_purpose_interruptions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(repeat(1.7), repeat(0.3))
    machine.pulse()
    taken = sample(machine, monkeypatch, beside=True)
    assert taken.ms == pytest.approx({"a": 3.4 / 0.3, "b": 6.8 / 0.3})
    assert not taken.disturbed and taken.pulse_ms is None


def test_nothing_is_disturbed_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not sample(Machine(repeat(1.0), repeat(0.1)), monkeypatch, passes=1, limit_ms=None).disturbed


def test_the_usual_pulse_is_that_of_a_machine_left_alone() -> None:
    assert usual_pulse([]) is None
    hopping = [1.0 if number % 5 == 0 else 1.7 for number in range(1000)]  # disturbed four fifths of the time
    assert usual_pulse(hopping) == pytest.approx(1.0)
    cool_at_first = [1.0] * 300 + [1.3] * 700
    assert usual_pulse(cool_at_first) == pytest.approx(1.3)
    assert usual_pulse([2.0]) == 2.0


def test_a_pulse_is_short_and_positive() -> None:
    assert 0 < take_pulse() < 1000 and pulse._TRIES * pulse._ADDITIONS < 10_000


def test_samples_with_another_pulse_are_disturbed_once_the_usual_one_is_known() -> None:
    ledger = Ledger(max_drift=0.1)
    ledger.begin_round({})
    for ms, felt in ((1.0, 0.1), (1.7, 0.17), (0.8, 0.08), (1.05, 0.105)):
        ledger.record(Sample({"a": ms}, pulse_ms=felt))
    assert ledger.counts(clean=True) == {"a": 4} and ledger.usual_pulse_ms is None
    for _ in range(50):
        ledger.record(Sample({"b": 1.0}, pulse_ms=0.1))
    ledger.begin_round({})
    assert ledger.usual_pulse_ms == pytest.approx(0.1)
    assert ledger.samples["a"].clean == [1.0, 1.05] and ledger.samples["a"].disturbed == [1.7, 0.8]
    ledger.record(Sample({"a": 2.0}, pulse_ms=0.2))
    assert ledger.counts(clean=True)["a"] == 2
