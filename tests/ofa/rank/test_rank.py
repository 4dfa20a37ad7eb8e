"""`ofa rank` as typed, on a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ofa.config import load_run_config
from predictors.records import SubnetEvaluator
from search_spaces import Architecture
from search_spaces.common.files import read_lines


def test_the_predictor_is_judged_and_stays_as_it_is(ofa: Any, run: Path) -> None:
    predictor = (run / "predictor" / "predictor.json").read_bytes()
    before = read_lines(run / "records.jsonl", "records")
    answer = ofa("rank", run, "-n", "12", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    assert json.loads((run / "rank.json").read_text()) == facts
    new = read_lines(run / "records.jsonl", "records")[len(before) :]
    accuracies = {line["key"]: line["accuracy"] for line in new}
    assert {line["origin"] for line in new} == {"rank"} and len(new) == 12
    predicted = facts["predicted"]
    assert {network["key"]: network["accuracy"] for network in predicted["networks"]} == accuracies
    assert set(predicted["scores"]) == {"predictor", "macs", "params", "depth"} and predicted["num_images"] == 90
    for score in (*predicted["scores"].values(), *predicted["ceiling"].values()):
        assert -1 <= score["tau"]["lower"] <= score["tau"]["value"] <= score["tau"]["upper"] <= 1
        assert list(score["regret"]) == ["1", "5", "10"] and score["regret"]["1"]["value"] >= 0
    assert facts["standalone"] is None
    assert facts["sensitivity"]["costs"] == ["latency@here", "macs"] and facts["sensitivity"]["steps"]

    evaluator = SubnetEvaluator(run, load_run_config(run))
    for network in predicted["networks"][:2]:  # image by image is as a whole
        evaluation = evaluator(Architecture.from_json(network["architecture"]))
        (line,) = [line for line in new if line["key"] == network["key"]]
        assert evaluation.accuracy == network["accuracy"] and evaluation.loss == pytest.approx(line["loss"], rel=1e-5)

    files = {path: path.read_bytes() for path in (run / "records.jsonl", run / "rank" / "answers.jsonl")}
    again = ofa("rank", run, "-n", "12", "--json")
    assert json.loads(again.out) == facts  # nothing is evaluated twice, and nothing hangs on chance
    assert files == {path: path.read_bytes() for path in files}
    assert ofa("fit", run).code == 0
    assert (run / "predictor" / "predictor.json").read_bytes() == predictor  # they were not fitted

    told = ofa("rank", run, "-n", "12")
    assert told.code == 0 and "against 12 subnets the predictor never saw" in told.out
    for words in ("perfect ranking", "MACs alone", "top-10 regret", "what a gene buys, paid in latency@here"):
        assert words in told.out, words


def test_the_report_shows_it_until_the_predictor_changes(ofa: Any, run: Path) -> None:
    def page() -> str:
        assert ofa("report", run).code == 0
        return (run / "report.html").read_text()

    assert 'id="ranking"' not in page()
    assert ofa("rank", run, "-n", "8").code == 0
    shown = page()
    assert 'id="ranking"' in shown and "against 8 subnets it never saw" in shown and "points per ms" in shown
    report = json.loads((run / "report.json").read_text())
    assert report["ranking"] == json.loads((run / "rank.json").read_text()) and report["missing"] == []
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["predictor"]["target"] = "accuracy"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert ofa("fit", run).code == 0
    assert 'id="ranking"' not in page()
    missing = json.loads((run / "report.json").read_text())["missing"]
    assert [item["command"] for item in missing] == [f"ofa rank {run}"]


def test_mistakes(refused: Any, run: Path, tmp_path: Path) -> None:
    assert "-n" in (message := refused("rank", run, "-n", "7")) and "at least 8" in message
    message = refused("rank", run, "-n", "12", "--standalone", "13")
    assert "--standalone" in message and "from 8 to the 12 networks" in message
    assert "--standalone" in refused("rank", run, "--standalone", "3")
    assert "--seeds" in refused("rank", run, "--seeds", "0")
    assert "no config.yaml" in refused("rank", tmp_path / "none")
    assert not (run / "rank").exists() and not (run / "rank.json").exists()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["predictor"]["origins"] = ["sampled", "rank"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "must not be fitted" in refused("rank", run)
    config["predictor"]["origins"] = ["sampled"]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "rank.json").write_text("{}")
    assert "ofa rank" in refused("report", run)
    (run / "rank.json").unlink()
    (run / "predictor" / "predictor.json").unlink()
    assert "no such predictor" in refused("rank", run)


@pytest.mark.slow
def test_networks_trained_alone(ofa: Any, refused: Any, run: Path) -> None:
    answer = ofa("rank", run, "-n", "8", "--standalone", "8", "--seeds", "2", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)["standalone"]
    assert facts["seeds"] == [0, 1] and set(facts["scores"]) == {"supernet", "predictor", "macs", "params", "depth"}
    folders = sorted((run / "rank" / "alone").iterdir())
    assert [folder.name for folder in folders] == sorted(
        f"{network['key']}-seed{seed}" for network in facts["networks"] for seed in (0, 1)
    )
    for network in facts["networks"]:
        for seed, accuracy in zip((0, 1), network["alone"], strict=True):
            score = json.loads((run / "rank" / "alone" / f"{network['key']}-seed{seed}" / "alone.json").read_text())
            assert score["selection"]["recalibrated"]["accuracy"] == accuracy and score["seed"] == seed
    before = {path: path.stat().st_mtime_ns for path in (run / "rank" / "alone").rglob("*")}
    told = ofa("rank", run, "-n", "8", "--standalone", "8", "--seeds", "2")
    assert told.code == 0 and "against 8 networks trained alone" in told.out
    assert {path: path.stat().st_mtime_ns for path in (run / "rank" / "alone").rglob("*")} == before
    assert ofa("report", run).code == 0 and "networks trained alone" in (run / "report.html").read_text()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["train"]["epochs"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "to train it again" in refused("rank", run, "-n", "8", "--standalone", "8")
