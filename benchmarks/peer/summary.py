"""From repetitions to medians, rates and ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.peer.item import Comparison, Lane, Record


def summarise_lane(lane: Lane, records: Sequence[Record], peak_rss_mib: float) -> dict[str, Any]:
    """Seconds of every repetition, their median and range, operations a second, and what else each returned."""
    seconds = [_seconds(record) for record in records]
    return {
        "title": lane.title,
        "process": lane.process,
        "repeats": len(records),
        "seconds": seconds,
        "count": [record.get("count", 1) for record in records],
        "median_s": statistics.median(seconds),
        "range_s": [min(seconds), max(seconds)],
        "per_second": statistics.median([_rate(record) for record in records]),
        "peak_rss_mib": round(peak_rss_mib, 1),
        "records": [{key: value for key, value in record.items() if _is_small(key, value)} for record in records],
    }


def compare(comparison: Comparison, lane: Sequence[Record], base: Sequence[Record]) -> dict[str, Any]:
    """The ratio over the repetitions that both have: median of the pairs and their range, or mean over groups."""
    measure = _seconds if comparison.kind == "time" else _rate
    ratios = [measure(one) / measure(other) for one, other in zip(lane, base, strict=False)]
    if comparison.groups is None:
        ratio, spread = statistics.median(ratios), ratios
    else:
        groups = [ratios[start :: comparison.groups] for start in range(min(comparison.groups, len(ratios)))]
        spread = [statistics.median(group) for group in groups]
        ratio = statistics.mean(spread)
    met = None
    if comparison.wanted is not None:
        met = ratio <= comparison.wanted if comparison.kind == "time" else ratio >= comparison.wanted
    return {**asdict(comparison), "ratio": ratio, "range": [min(spread), max(spread)], "pairs": len(ratios), "met": met}


def _seconds(record: Record) -> float:
    return max(float(record["seconds"]), 1e-12)


def _rate(record: Record) -> float:
    """Operations a second."""
    return float(record.get("count", 1)) / _seconds(record)


def _is_small(key: str, value: Any) -> bool:
    return key not in ("seconds", "count") and isinstance(value, (int, float, str))
