"""What the benchmark beside the peer makes of its measurements: ratios, files that are added to, and its processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peer import architectures
from benchmarks.peer.__main__ import main, select
from benchmarks.peer.inputs import image_batches
from benchmarks.peer.item import Comparison, Lane, Options, Part
from benchmarks.peer.items import all_items
from benchmarks.peer.process import Worker, WorkerError
from benchmarks.peer.report import markdown, number
from benchmarks.peer.results import has_result, merge, read_results, save
from benchmarks.peer.summary import compare, summarise_lane
from search_spaces.common.errors import UserError


def records(*seconds: float, count: int = 1) -> list[dict[str, Any]]:
    return [{"seconds": value, "count": count} for value in seconds]


def test_a_time_ratio_is_the_median_of_pairs() -> None:
    ours, theirs = records(1.0, 2.0, 9.0, count=7), records(2.0, 2.0, 10.0)
    row = compare(Comparison("step", "ours", "peer", wanted=0.9), ours, theirs)
    assert (row["ratio"], row["range"], row["pairs"], row["met"]) == (0.9, [0.5, 1.0], 3, True)


def test_a_rate_ratio_counts_operations() -> None:
    row = compare(Comparison("count", "ours", "peer", "rate", 20), records(1.0, count=300), records(0.5, count=10))
    assert (row["ratio"], row["met"]) == (15.0, False)


def test_groups_are_weighed_alike() -> None:
    """Repetitions go round the subnets: each subnet's median, then the mean over subnets."""
    elastic, static = records(1.0, 4.0, 1.0, 4.0, 7.0, 4.0), records(1.0, 2.0, 1.0, 2.0, 1.0, 2.0)
    row = compare(Comparison("overhead", "elastic", "static", groups=2), elastic, static)
    assert (row["ratio"], row["range"]) == (1.5, [1.0, 2.0])


def test_lanes_of_different_length_are_paired_as_far_as_both_go() -> None:
    row = compare(Comparison("search", "ours", "library"), records(1.0, 5.0), records(2.0))
    assert (row["ratio"], row["pairs"]) == (0.5, 1)


def entry(short: bool = False) -> dict[str, Any]:
    lanes = {key: summarise_lane(Lane(key, key, key, "run"), records(1.0), 100.0) for key in ("ours", "peer")}
    rows = [compare(Comparison("a step", "ours", "peer", wanted=0.5), records(1.0), records(4.0))]
    facts = {"date": "today", "commit": "abc", "threads": 2, "wall_s": 3.0, "other_busy_cores": None}
    load = {"load_start": [0.1, 0, 0], "load_end": [0.2, 0, 0]}
    return {"title": "T", "short": short, **facts, **load, "lanes": lanes, "comparisons": rows, "checks": []}


def test_results_are_added_to_and_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "peer.json"
    results = read_results(path)
    merge(results, "b", entry())
    save(results, path)
    results = read_results(path)
    merge(results, "a", {"title": "A", "short": False, "failed": "boom"})
    merge(results, "b", {"title": "B", "short": False, "skipped": "no data"})
    assert list(results["items"]) == ["a", "b"]
    assert has_result(results, "b", short=False) and not has_result(results, "a", short=False)
    merge(results, "a", entry(short=True))
    assert has_result(results, "a", short=True) and not has_result(results, "a", short=False)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "peer.json"
    for text in ("{", "[]", '{"schema": 99, "items": {}}'):
        path.write_text(text)
        with pytest.raises(UserError, match="--output"):
            read_results(path)


def test_the_page_names_ratio_conditions_and_what_is_missing() -> None:
    skipped = {"title": "a search", "short": False, "skipped": "skipped: needs OFA_BENCH_DATA"}
    page = markdown({"machine": {"cores": 2}, "peer": {"ofa": "1"}, "items": {"a": entry(), "c": skipped}})
    assert "| a | a step | peer: 1 s | ours: 1 s | **0.25** [0.25, 0.25] | <= 0.5: yes |" in page
    assert "| c | a search | skipped: needs OFA_BENCH_DATA | | | |" in page
    assert "| a | today | abc | 2 | 3 s | 0.10, 0.20 |  |" in page
    assert "Short form" not in page
    assert "Short form" in markdown({"machine": {}, "peer": {}, "items": {"a": entry(short=True)}})


def test_numbers_keep_three_digits() -> None:
    assert [number(value) for value in (0, 0.45678, 12.345)] == ["0", "0.457", "12.3"]
    assert [number(value) for value in (8762.4, 1430000.0)] == ["8,760", "1,430,000"]


@pytest.mark.parametrize("short", [True, False])
def test_items_fit_together(short: bool) -> None:
    """Every lane has its process, every comparison its lanes, and what goes to a process can be written as JSON."""
    items = all_items(Options(short=short))
    assert len({item.key for item in items}) == len(items) and {item.letter for item in items} == set("abcde")
    for item in items:
        lanes = {lane.key for lane in item.lanes}
        assert {lane.process for lane in item.lanes} == set(item.parts), item.key
        assert {key for row in item.comparisons for key in (row.lane, row.base)} <= lanes, item.key
        for lane in item.lanes:
            assert json.dumps([lane.inputs(0), lane.inputs(1), lane.warmup, item.parts[lane.process].arguments])


def test_items_are_chosen_by_letter_or_name() -> None:
    items = all_items(Options())

    def keys(only: str | None) -> list[str]:
        return [item.key for item in select(items, only)]

    assert keys(None) == [item.key for item in items]
    assert keys("e, b-extract") == ["b-extract", "e-count"]
    with pytest.raises(UserError, match="there is no item x"):
        keys("a,x")
    assert main(["--only", "x"]) == 2
    assert main(["--list"]) == 0


def test_both_sides_are_told_the_same_subnets() -> None:
    (subnet,) = architectures.draw(architectures.space_of([64]), 1, seed=3)
    (told,) = architectures.theirs([subnet])
    assert told["r"] == [64] and [len(told[key]) for key in ("ks", "e", "d")] == [20, 20, 5]
    for stage, depth in enumerate(subnet.values["depth"]):  # type: ignore[arg-type]
        assert told["d"][stage] == depth
        for block in range(4 * stage, 4 * stage + depth):
            assert told["ks"][block] == subnet.values["kernel"][block]  # type: ignore[index]
            assert told["e"][block] == subnet.values["expand"][block]  # type: ignore[index]
    assert None not in told["ks"] + told["e"]


@pytest.mark.parametrize(("num", "batch"), [(32, 16), (7, 16), (450, 200), (410, 50)])
def test_batches_hold_as_many_images_as_asked_for(num: int, batch: int) -> None:
    sizes = [len(images) for images in image_batches(num, batch, 8)]
    assert sum(sizes) == num and max(sizes) == min(batch, num) and len(sizes) == -(-num // batch)


@pytest.fixture
def worker(tmp_path: Path) -> Any:
    part = Part("ours", "counting")
    worker = Worker(part, peer_python=Path("none"), threads=1, log=tmp_path / "worker.log", data=None)
    yield worker
    worker.close()


def test_a_worker_answers_and_tells_its_memory(worker: Worker) -> None:
    worker.ready()
    subnets = architectures.ours(architectures.draw(architectures.space_of(), 5, seed=0))
    answer = worker.run("count", {"subnets": subnets})
    assert answer["seconds"] > 0 and answer["count"] == 5 and len(answer["macs"]) == 5
    assert 5 < worker.peak_rss_mib < 500
    with pytest.raises(WorkerError, match="no attribute 'nothing'"):
        worker.run("nothing", {})
    assert worker.run("count", {"subnets": subnets})["macs"] == answer["macs"]  # a failed task is not the end of it


def test_a_worker_that_dies_says_so(worker: Worker) -> None:
    worker.ready()
    worker.process.kill()
    with pytest.raises(WorkerError, match="ended with code -9"):
        worker.run("count", {"subnets": []})
