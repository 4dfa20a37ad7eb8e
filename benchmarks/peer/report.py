"""Results as Markdown: one line per comparison, then what the lanes took and under which conditions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MET = {True: "yes", False: "**no**", None: ""}


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = (_head, _comparisons, _checks, _lanes, _conditions)
    return "\n".join(line for part in parts for line in part(results))


def _head(results: dict[str, Any]) -> Iterator[str]:
    machine, peer = results["machine"], results["peer"]
    yield "# Beside the published implementation"
    yield ""
    yield (
        f"{machine.get('cores')} cores of {machine.get('processor')}, {machine.get('memory_gib')} GiB, "
        f"Python {machine.get('python')}, torch {machine.get('torch')}. The peer: PyPI `ofa` {peer.get('ofa')}."
    )
    if any(entry.get("short") for entry in results["items"].values()):
        yield ""
        yield "**Short form: sizes and repetitions too small for any claim about speed.**"
    yield ""


def _comparisons(results: dict[str, Any]) -> Iterator[str]:
    yield "| item | what | base | measured | ratio [min, max] | wanted |"
    yield "|---|---|---|---|---|---|"
    for key, entry in results["items"].items():
        if "lanes" not in entry:
            yield f"| {key} | {entry['title']} | {entry.get('skipped') or 'failed'} | | | |"
        for row in entry.get("comparisons", ()):
            lane, base = entry["lanes"][row["lane"]], entry["lanes"][row["base"]]
            low, high = row["range"]
            yield (
                f"| {key} | {row['title']} | {base['title']}: {_amount(base, row['kind'])} | "
                f"{lane['title']}: {_amount(lane, row['kind'])} | "
                f"**{number(row['ratio'])}** [{number(low)}, {number(high)}] | {_wanted(row)} |"
            )
    yield ""


def _checks(results: dict[str, Any]) -> Iterator[str]:
    rows = [(key, check) for key, entry in results["items"].items() for check in entry.get("checks", ())]
    if not rows:
        return
    yield "| item | check | found | met |"
    yield "|---|---|---|---|"
    for key, check in rows:
        yield f"| {key} | {check['title']} | {check['found']} | {_MET[check['met']]} |"
    yield ""


def _lanes(results: dict[str, Any]) -> Iterator[str]:
    yield "| item | lane | repeats | seconds: median [min, max] | per second | peak MiB of its process |"
    yield "|---|---|---|---|---|---|"
    for key, entry in results["items"].items():
        for lane in entry.get("lanes", {}).values():
            low, high = lane["range_s"]
            yield (
                f"| {key} | {lane['title']} | {lane['repeats']} | {number(lane['median_s'])} [{number(low)}, "
                f"{number(high)}] | {number(lane['per_second'])} | {lane['peak_rss_mib']:.0f} |"
            )
    yield ""


def _conditions(results: dict[str, Any]) -> Iterator[str]:
    yield "| item | date | commit | threads | wall | load, start and end | cores busy with other processes |"
    yield "|---|---|---|---|---|---|---|"
    for key, entry in results["items"].items():
        if "lanes" in entry:
            others = "" if entry["other_busy_cores"] is None else f"{entry['other_busy_cores']:.2f}"
            yield (
                f"| {key} | {entry['date']} | {entry['commit']} | {entry['threads']} | {entry['wall_s']:.0f} s | "
                f"{entry['load_start'][0]:.2f}, {entry['load_end'][0]:.2f} | {others} |"
            )
    yield ""


def _amount(lane: dict[str, Any], kind: str) -> str:
    return f"{number(lane['median_s'])} s" if kind == "time" else f"{number(lane['per_second'])}/s"


def _wanted(row: dict[str, Any]) -> str:
    if row["wanted"] is None:
        return ""
    sign = "<=" if row["kind"] == "time" else ">="
    return f"{sign} {row['wanted']:g}: {_MET[row['met']]}"


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    magnitude = abs(value)
    if magnitude >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if magnitude >= 1e-4 else f"{value:.6f}"
