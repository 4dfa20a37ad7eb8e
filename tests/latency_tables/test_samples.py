from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_tables.samples import Ledger, Sample, Samples, median_uncertainty, summarize


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


@pytest.mark.parametrize("num", [6, 9, 20, 63, 64, 200])
def test_the_interval_of_the_median_holds_it_as_often_as_it_says(num: int) -> None:
    """Lognormal times with median 1: the stated half-width is that of an interval that covers at least 95 %."""
    rng = np.random.default_rng(num)
    draws = np.exp(0.3 * rng.standard_normal((4000, num)))
    ranks = [k for k in range(1, num // 2 + 1) if np.isclose(_width(draws[0], k), median_uncertainty(list(draws[0])))]
    assert len(ranks) == 1
    ordered = np.sort(draws, axis=1)
    covered = np.mean((ordered[:, ranks[0] - 1] <= 1.0) & (ordered[:, num - ranks[0]] >= 1.0))
    assert 0.94 < covered <= 1.0


def _width(draws: np.ndarray, rank: int) -> float:
    ordered = np.sort(draws)
    return float((ordered[-rank] - ordered[rank - 1]) / 2 / np.median(ordered))


def test_few_samples_are_never_certain() -> None:
    assert median_uncertainty([1.0] * 5) == float("inf") and median_uncertainty([1.0] * 6) == 0.0


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sample"), st.dictionaries(st.sampled_from("abc"), st.floats(0.1, 9), min_size=1)),
            st.tuples(st.just("pulse"), st.floats(0.1, 0.2)),
            st.tuples(st.just("round"), st.floats(0.5, 2)),
            st.tuples(st.just("confirm"), st.booleans()),
        ),
        max_size=30,
    )
)
def test_what_a_ledger_counts_does_not_depend_on_when_it_is_asked(events: list) -> None:
    asked, silent = Ledger(max_drift=0.1), Ledger(max_drift=0.1)
    for kind, value in events:
        for ledger in (asked, silent):
            if kind == "sample":
                ledger.record(Sample(value))
            elif kind == "pulse":
                ledger.record(Sample({"a": 10 * value}, pulse_ms=value))
            elif kind == "round":
                ledger.begin_round({"s": value})
            else:
                ledger.confirm(quiet=value)
        asked.counts()
    assert asked.counts(clean=True) == silent.counts(clean=True) and asked.counts() == silent.counts()
    num = sum(len(value) if kind == "sample" else kind == "pulse" for kind, value in events)
    assert sum(asked.counts().values()) == num


def test_items_timed_at_different_moments_compare() -> None:
    """Two items as fast as each other, one timed while the machine was 6 % slower; one odd reading moves nothing."""
    told, raw = Ledger(max_drift=0.1), Ledger(max_drift=0.1, at_usual_speed=False)
    speeds = [1.0] * 6 + [1.06] * 5 + [1.0] + [1.06] * 2
    for number, speed in enumerate(speeds):
        for ledger in (told, raw):
            ledger.begin_round({"s": 0.5 * speed, "t": 3.0 * speed})
            if number not in (5, 13):  # while the speed changes, nobody knows which one it was
                slow = 1.06 if number > 5 else 1.0
                ledger.record(Sample({"late" if number > 5 else "early": 2.0 * slow}))
    assert raw.samples["late"].summary().median_ms == pytest.approx(2.12)
    early, late = (told.samples[key].summary().median_ms for key in ("early", "late"))
    assert early / late == pytest.approx(1.0, abs=1e-9)
    assert told.counts(clean=True) == raw.counts(clean=True)


def test_disturbed_share_and_retraction() -> None:
    ledger = Ledger()
    ledger.record(Sample({"a": 1.0}))
    ledger.confirm(quiet=True)
    ledger.record(Sample({"a": 5.0, "b": 1.0}))
    ledger.record(Sample({"b": 6.0}))
    ledger.confirm(quiet=False)
    assert ledger.counts(clean=True) == {"a": 1, "b": 0} and ledger.share_disturbed == pytest.approx(2 / 3)
