"""What a comparison computes: intervals, differences of configs, costs that are the same, the best under a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofa.report.compare.differences import config_differences
from ofa.report.compare.gather import compare
from ofa.report.compare.proportions import accuracy_interval, difference
from search_spaces.common.files import append_line
from tests.ofa.report.compare.conftest import (
    OTHER,
    change_config,
    change_json,
    other_test_images,
    replace_everywhere,
)
from tests.ofa.report.invented import NAME, SPLITS, WEIGHTS


def told(comparison: dict[str, Any], words: str) -> bool:
    return any(words in sentence for sentence in comparison["caveats"])


# -- intervals --------------------------------------------------------------------------------------------------------


def test_intervals_are_those_that_were_published() -> None:
    one = accuracy_interval(81 / 263, 263)  # Newcombe 1998, "Two-sided confidence intervals for the single proportion"
    assert (one.lower, one.upper) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    gap = difference(56 / 70, 70, 48 / 80, 80)  # the example (a) of the paper on differences, method 10
    assert gap.value == pytest.approx(0.2)
    assert (gap.lower, gap.upper) == (pytest.approx(0.0524, abs=1e-4), pytest.approx(0.3339, abs=1e-4))
    assert gap.distinct and not difference(0.97, 1000, 0.965, 1000).distinct


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_no_interval_leaves_what_accuracies_can_be(accuracy: float) -> None:
    one = accuracy_interval(accuracy, 10)
    assert 0 <= one.lower <= accuracy <= one.upper <= 1 and one.lower < one.upper


# -- configs ----------------------------------------------------------------------------------------------------------


def test_only_what_differs_is_told_and_devices_are_found_by_name() -> None:
    one = {"name": "a", "train": {"epochs": 1, "lr": 0.1}, "devices": [{"name": "p", "n": 1}, {"name": "q", "n": 1}]}
    two = {"name": "b", "train": {"epochs": 2, "lr": 0.1}, "devices": [{"name": "q", "n": 1}, {"name": "p", "n": 3}]}
    rows = {row["key"]: row["values"] for row in config_differences([one, two])}
    assert rows == {"train.epochs": ["1", "2"], "devices.p.n": ["1", "3"]}


def test_a_key_that_one_config_has_not_is_not_one_that_is_null() -> None:
    rows = {row["key"]: row["values"] for row in config_differences([{"a": {"x": None}}, {"a": {}}])}
    assert rows["a.x"] == ["null", None]


# -- costs ------------------------------------------------------------------------------------------------------------


def test_equal_devices_share_a_chart(first: Path, second: Path) -> None:
    charts = {chart["name"]: chart for chart in compare([first, second])["fronts"]}
    assert charts["latency@here"]["runs"] == charts["macs"]["runs"] == [0, 1]
    for front in charts["latency@here"]["fronts"]:
        best = [point for point in front["records"] if point[3]]
        assert best == sorted(best) and [p[1] for p in best] == sorted(p[1] for p in best), "dearer and more accurate"
        assert len(front["records"]) == front["num_records"] == 40 and front["predicted"] and len(front["winners"]) == 2


def test_a_device_with_another_runtime_is_another_device(first: Path, second: Path) -> None:
    change_json(second / "tables" / "here.json", lambda table: table["device"].update(runtime_version="2.0"))
    comparison = compare([first, second])
    charts = {chart["name"]: chart["runs"] for chart in comparison["fronts"]}
    assert charts == {"macs": [0, 1], "latency@here": [0], "latency@here #2": [1]}
    assert told(comparison, "runtime_version: 1.0 / 2.0") and told(comparison, "No device is common")
    assert [row["limits"] for row in comparison["budgets"]] == [{}], "no budget is on a cost that both know"


# -- budgets ----------------------------------------------------------------------------------------------------------


def test_under_a_budget_selection_chooses_and_test_tells(first: Path, second: Path) -> None:
    def lucky(report: dict[str, Any]) -> None:
        report["accuracy"]["test"]["accuracy"] = 0.99

    change_json(second / "specialized" / "small" / "report.json", lucky)
    rows = compare([first, second])["budgets"]
    assert [len(row["limits"]) for row in rows] == [1, 1, 0] and rows[0]["limits"]["latency@here"] < 0.2
    assert rows[0]["of"] == [f"small of {NAME}", "small of second"], "the same budget of both runs is one"
    small, _, unlimited = rows
    assert [network["name"] for network in small["networks"]] == ["small", "small"]
    assert small["networks"][1]["test"] == 0.99 and "latency@here" in small["networks"][1]["measured"]
    (gap,) = small["differences"]
    assert (gap["better"], gap["worse"]) == (1, 0) and gap["distinct"] and gap["lower"] < gap["value"] < gap["upper"]
    assert [network["name"] for network in unlimited["networks"]] == ["largest subnet"] * 2
    assert not unlimited["differences"][0]["distinct"]


def test_a_network_that_breaks_the_budget_when_measured_does_not_count(first: Path, second: Path) -> None:
    def slow(report: dict[str, Any]) -> None:
        report["latency"]["here"]["measured"]["median_ms"] = 99.0

    change_json(second / "specialized" / "small" / "report.json", slow)
    small = compare([first, second])["budgets"][0]
    assert small["networks"][0]["name"] == "small" and small["networks"][1] is None
    assert small["known"] == [True, True] and small["differences"] == []


def test_winners_that_were_never_tested_do_not_count(first: Path, second: Path) -> None:
    for name in ("small", "large"):
        (second / "specialized" / name / "report.json").unlink()
    (second / "reference.json").unlink()
    comparison = compare([first, second])
    assert all(row["networks"][1] is None for row in comparison["budgets"])
    assert comparison["runs"][1]["best"] is None and told(comparison, "second is not finished")


# -- caveats ----------------------------------------------------------------------------------------------------------


def test_what_is_the_same_needs_no_word(first: Path, second: Path) -> None:
    comparison = compare([first, second])
    for words in ("different", "same supernet", "not finished", "No device"):
        assert not told(comparison, words)
    assert told(comparison, "one training")


def test_other_test_images_are_told(first: Path, second: Path) -> None:
    other_test_images(second)
    assert told(compare([first, second]), "are tested on different images")


def test_other_data_are_told_and_differences_not_computed(first: Path, second: Path) -> None:
    change_json(second / "supernet.json", lambda supernet: supernet["data"].update(name="others"))
    comparison = compare([first, second])
    assert told(comparison, "of different data") and not told(comparison, "no more than chance")
    assert all(row["differences"] == [] for row in comparison["budgets"])


def test_a_copied_supernet_is_told(first: Path, second: Path) -> None:
    replace_everywhere(second, OTHER, WEIGHTS)
    assert told(compare([first, second]), "hold the same supernet")


def test_a_run_of_which_there_is_hardly_more_than_a_config(first: Path, tmp_path: Path) -> None:
    change_config(first, name="whole")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text("name: bare\ndevices: []\n")
    comparison = compare([first, bare])
    assert told(comparison, "bare is not finished") and comparison["training"][1] == {"accuracy": {}, "loss": {}}
    assert comparison["runs"][1]["space"] is None


# -- training ---------------------------------------------------------------------------------------------------------


def test_training_is_told_by_what_it_cost(first: Path, second: Path) -> None:
    lines = [
        {"kind": "step", "step": step, "phase": "all", "macs": 100 * step, "loss": {"random": 1.0 + (step % 20)}}
        for step in range(10, 4001, 10)
    ]
    (second / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    scores = {"random": {"key": "x", "accuracy": 0.5, "loss": 1.0}}
    append_line(second / "training.jsonl", {"kind": "evaluation", "step": 15, "phase": "all", **scores})
    comparison = compare([first, second])
    costs = [run["training"] for run in comparison["runs"]]
    assert (costs[1]["macs"], costs[1]["hours"]) == (30, 2.0) and costs[0]["macs"] is None
    curves = comparison["training"]
    assert curves[1]["accuracy"]["random"] == [[15, 1500.0, 0.5]], "between two logged steps"
    loss = curves[1]["loss"]["random"]
    assert len(loss) <= 150 and loss[-1][:2] == [4000, 400000.0]
    assert sum(value for _, _, value in loss) / len(loss) == pytest.approx(6.0, rel=0.05), "means, not samples"
    assert curves[0]["loss"]["largest"][0][1] is None, "this log does not tell MACs"


def test_runs_of_one_name_are_told_apart(first: Path, second: Path) -> None:
    change_config(second, name=NAME)
    labels = [run["label"] for run in compare([first, second])["runs"]]
    assert labels == [f"{NAME} (first)", f"{NAME} (second)"]


def test_splits_are_told(first: Path, second: Path) -> None:
    assert compare([first, second])["runs"][0]["splits"] == SPLITS
