"""Amounts with units."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.common.errors import UserError
from search_spaces.common.units import METRICS, Quantity, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "metric", "value"),
    [
        ("12ms", "latency", 12.0),
        ("0.5 s", "latency", 500.0),
        ("250us", "latency", 0.25),
        ("250µs", "latency", 0.25),  # the micro sign
        ("250μs", "latency", 0.25),  # the Greek letter
        (" 1e2 MS ", "latency", 100.0),
        ("3mJ", "energy", 3.0),
        ("2J", "energy", 2000.0),
        ("300MMACs", "macs", 3e8),
        ("300M", "macs", 3e8),
        ("1.5gmacs", "macs", 1.5e9),
        (300_000_000, "macs", 3e8),
        ("1.5M", "params", 1.5e6),
        ("12kparams", "params", 12e3),
        ("256KiB", "peak_memory", 262_144.0),
        ("256kB", "peak_memory", 256_000.0),
        ("1.5MiB", "flash", 1.5 * 2**20),
        ("100 B", "flash", 100.0),
    ],
)
def test_amounts(text, metric, value):
    assert parse_quantity(text, metric) == Quantity(pytest.approx(value), relative=False)


@pytest.mark.parametrize(("text", "value"), [("30%", 0.3), ("0 %", 0.0), ("100%", 1.0)])
@pytest.mark.parametrize("metric", METRICS)
def test_shares_of_a_range(text, value, metric):
    assert parse_quantity(text, metric) == Quantity(value, relative=True)


@pytest.mark.parametrize(
    ("text", "metric", "words"),
    [
        ("-3ms", "latency", "not a positive amount of latency"),
        ("0ms", "latency", "not a positive amount"),
        ("0", "macs", "not a positive amount"),
        (-5, "macs", "not a positive amount"),
        ("nan ms", "latency", "not a positive amount"),
        ("nan", "macs", "not a positive amount"),
        (float("nan"), "macs", "not a positive amount"),
        (float("inf"), "params", "not a positive amount"),
        ("inf ms", "latency", "not a positive amount"),
        ("-inf%", "latency", "not a positive amount"),
        ("nan%", "latency", "not a positive amount"),
        ("1e999ms", "latency", "not a positive amount"),
        ("1e308GiB", "flash", "not a positive amount"),
        ("1e-320ns", "latency", "not a positive amount"),
        ("-1%", "latency", "not a positive amount"),
        ("101%", "latency", "above 100%"),
        ("12", "latency", "has no unit"),
        (12, "latency", "has no unit"),
        (12.5, "flash", "has no unit"),
        ("12 KiB", "latency", "unknown unit 'KiB'"),
        ("12 ms", "macs", "unknown unit 'ms'"),
        ("12 parsecs", "latency", "Known: ns, us, ms, s; e.g. 12ms"),
        ("ms", "latency", "is not an amount"),
        ("", "latency", "is not an amount"),
        ("1 2ms", "latency", "is not an amount"),
        ("12ms or so", "latency", "is not an amount"),
        ("0x10", "macs", "is not an amount"),
        (True, "macs", "is not an amount"),
        (None, "macs", "is not an amount"),
        ([1], "macs", "is not an amount"),
        ("12ms", "latencies", "Did you mean 'latency'?"),
    ],
)
def test_refused(text, metric, words):
    with pytest.raises(UserError) as caught:
        parse_quantity(text, metric, file="config.yaml", key="search.budgets.0")
    message = str(caught.value)
    assert message.startswith("config.yaml: search.budgets.0: ")
    assert words in message
    assert str(text) in message or metric not in METRICS


@given(st.sampled_from(sorted(METRICS)), st.floats(1e-3, 1e12), st.data())
def test_every_unit_scales(metric, number, data):
    unit, factor = data.draw(st.sampled_from(sorted(METRICS[metric][1].items())))
    for spelling in (unit, unit.upper(), f" {unit} "):
        assert parse_quantity(f"{number!r}{spelling}", metric).value == pytest.approx(number * factor)


@given(st.text(max_size=12) | st.floats() | st.integers(), st.sampled_from(sorted(METRICS)))
def test_nothing_but_positive_amounts_comes_out(text, metric):
    try:
        quantity = parse_quantity(text, metric)
    except UserError:
        return
    assert math.isfinite(quantity.value)
    assert 0 <= quantity.value <= 1 if quantity.relative else quantity.value > 0


@given(st.sampled_from(sorted(METRICS)), st.floats(1e-3, 1e11))
def test_what_is_written_reads_back(metric, value):
    value = value if metric in ("latency", "energy") else float(round(value) + 1)
    assert parse_quantity(format_quantity(value, metric), metric).value == pytest.approx(value, rel=6e-4)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (1.2041, "latency", "1.204 ms"),
        (86016, "peak_memory", "84 KiB"),
        (3 * 2**20, "flash", "3 MiB"),
        (100, "flash", "100 B"),
        (12_300_000, "macs", "12.3 MMACs"),
        (999, "macs", "999 MACs"),
        (1.2e6, "params", "1.2 M"),
        (12, "params", "12"),
    ],
)
def test_written(value, metric, text):
    assert format_quantity(value, metric) == text
