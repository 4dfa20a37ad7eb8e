from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import ofa.search.stage
import predictors.records
from latency_tables.listed import ListedTable
from ofa.cli import main
from ofa.search.budgets import parse_max
from ofa.search.outputs import write_architectures
from ofa.search.settings import SearchSettings
from ofa.search.stage import search_run
from ofa.search.tables import print_winners
from predictors.fit import fit_predictor
from predictors.record_file import RecordBook
from predictors.records import evaluate_missing, load_records
from predictors.sampling import record_list
from predictors.settings import PredictorSettings
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import Infeasible, UserError

IDENTITY = {"weights_sha256": "w" * 64, "calibration_sha256": "c" * 64, "selection_sha256": "s" * 64}


class Evaluator:
    """Stands in for the supernet and its images: larger networks are better, and each has a fate of its own."""

    asked: ClassVar[list[str]] = []

    def __init__(self, run: Path, config: object) -> None:
        info = json.loads((run / "supernet.json").read_text())
        space = SearchSpace.from_description(info["space"])
        self.book = RecordBook(run / "records.jsonl", space, identity=IDENTITY)
        self.macs = space.cost("macs")

    def __call__(self, architecture: Architecture) -> SimpleNamespace:
        Evaluator.asked.append(architecture.key)
        size = np.log(self.macs.evaluate(self.book.space.encode([architecture]))[0] / 1e5)
        return SimpleNamespace(
            accuracy=0.5 + 0.1 * size + int(architecture.key[:3], 16) / 2**17, loss=1.0, num_images=10
        )


def config(**budgets: str) -> SimpleNamespace:
    limits = {name: {"macs": text} for name, text in budgets.items()}
    return SimpleNamespace(
        seed=0,
        devices=(),
        timed=(),
        boards=(),
        search=SearchSettings.model_validate({"budgets": limits, "candidates": 4}),
        predictor=PredictorSettings(candidates=("ridge",), bootstrap=100),
    )


@pytest.fixture
def run(space: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is trained, recorded and fitted."""
    monkeypatch.setattr(predictors.records, "SubnetEvaluator", Evaluator)
    (tmp_path / "supernet.json").write_text(
        json.dumps({"space": space.description, "weights_sha256": IDENTITY["weights_sha256"]})
    )
    evaluator = Evaluator(tmp_path, None)
    evaluate_missing(evaluator.book, record_list(space, 40, seed=0, sampling="stratified"), evaluator)
    fit_predictor(tmp_path, config(small="10%"))
    Evaluator.asked = []
    return tmp_path


def test_a_finished_search_is_not_done_again(run: Path, space: SearchSpace) -> None:
    settings = config(small="10%", large="60%")
    facts = search_run(run, settings, quiet=True)
    assert json.loads((run / "search.json").read_text()) == facts
    evaluated = list(Evaluator.asked)
    assert evaluated
    assert len(evaluated) == len(set(evaluated))
    records = load_records(run / "records.jsonl", space=space)
    assert set(records.of(("search",)).keys) == set(evaluated)
    by_key = dict(zip(records.keys, records.accuracies, strict=True))
    for budget in facts["budgets"]:
        winner = budget["winner"]
        assert winner["predicted_costs"]["macs"] <= budget["limits"]["macs"]
        assert winner["selection_accuracy"] == by_key[winner["key"]]
    small, large = facts["budgets"]
    assert small["winner"]["selection_accuracy"] <= large["winner"]["selection_accuracy"]

    before = fit_predictor(run, settings).inputs
    assert search_run(run, settings, quiet=True) == facts
    (run / "search.json").unlink()
    assert search_run(run, settings, quiet=True) == facts  # as after a kill just before the end
    assert Evaluator.asked == evaluated
    assert fit_predictor(run, settings).inputs == before  # what the search evaluated does not move the predictor


def test_other_budgets_are_searched_again_and_ones_own_leave_the_file(run: Path) -> None:
    search_run(run, config(small="10%"), quiet=True)
    written = (run / "search.json").read_bytes()
    own = search_run(run, config(small="10%"), budget=parse_max(["macs=30%", "params=80%"]), quiet=True)
    assert [budget["name"] for budget in own["budgets"]] == ["max"]
    assert set(own["budgets"][0]["limits"]) == {"macs", "params"}
    assert (run / "search.json").read_bytes() == written
    assert search_run(run, config(small="20%"), quiet=True)["budgets"][0]["written"] == {"macs": "20%"}


def test_impossible_and_unknown_before_anything_is_evaluated(run: Path) -> None:
    with pytest.raises(Infeasible, match="budget 'tiny'"):
        search_run(run, config(tiny="1k", large="60%"), quiet=True)
    with pytest.raises(UserError, match="needs a table of a device"):
        search_run(run, config(small="10%"), budget=parse_max(["latency=5ms"]), quiet=True)
    assert Evaluator.asked == []
    assert not (run / "search.json").exists()


def test_records_of_another_supernet_stop_the_search(run: Path) -> None:
    info = json.loads((run / "supernet.json").read_text())
    (run / "supernet.json").write_text(json.dumps(info | {"weights_sha256": "x" * 64}))
    with pytest.raises(UserError, match="record of another supernet"):
        search_run(run, config(small="10%"), quiet=True)


def test_a_half_written_last_record_is_left_out_and_other_damage_stops_the_search(
    run: Path, space: SearchSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    records = run / "records.jsonl"
    whole = records.read_bytes()
    lines = whole.splitlines(keepends=True)
    records.write_bytes(whole[: -len(lines[-1]) // 2])
    search_run(run, config(small="10%"), quiet=True)
    assert f"{records}: the last line is half-written" in capsys.readouterr().err
    assert records.read_bytes().startswith(b"".join(lines[:-1]))
    assert len(load_records(records, space=space)) >= len(lines) - 1
    (run / "search.json").unlink()

    lines[3] = lines[3][:40] + b"\n"
    records.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"records\.jsonl: line 4 of this records file is not JSON"):
        search_run(run, config(small="10%"), quiet=True)
    assert records.read_bytes() == b"".join(lines) and not (run / "search.json").exists()


def test_search_with_a_predictor_alone(run: Path, capsys: pytest.CaptureFixture[str], space: SearchSpace) -> None:
    def ofa(*arguments: str) -> tuple[int, str, str]:
        try:
            main(["search", "--accuracy", str(run / "predictor"), *arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    code, out, _ = ofa("--max", "macs=30%", "--max", "flash=120KiB", "-n", "3", "-o", str(run / "best.json"), "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["algorithm"] == "exhaustive"
    assert facts["num_scored"] == space.size
    assert len(facts["candidates"]) == 3
    best = Architecture.from_json(json.loads((run / "best.json").read_text()))
    assert best.key == facts["candidates"][0]["key"]
    assert space.cost("flash").evaluate(space.encode([best]))[0] <= 120 * 1024
    slots = facts["contributions"]["macs"]
    assert sum(entry["value"] for entry in slots) == facts["candidates"][0]["predicted_costs"]["macs"]

    code, out, _ = ofa("--max", "macs=30%", "--explain")
    assert code == 0
    assert "macs <=" in out
    assert "classifier" in out

    code, out, err = ofa("--max", "macs=1k", "--json")
    assert code == 3
    assert json.loads(out)["nearest"]["costs"]["macs"] == space.cost("macs").minimum()[0]
    assert "smallest achievable" in err

    for limit in ("latency=5ms", "macs=-5", "mcs=5M"):
        code, _, err = ofa("--max", limit)
        assert code == 2
        assert err.startswith("error: ")


def test_limits_of_several_devices(
    run: Path,
    space: SearchSpace,
    tables: dict[str, ListedTable],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each device has a winner of its own, evaluated for real; one network serves all, if one can."""
    monkeypatch.setattr(ofa.search.stage, "run_tables", lambda run, devices: tables)
    rows = space.enumerate(10_000)
    costs = {f"latency@{device}": table.cost(space) for device, table in tables.items()}
    limits = {name: float(np.quantile(cost.evaluate(rows), 0.3)) for name, cost in costs.items()}
    asked = parse_max([*(f"{name}={limit!r}ms" for name, limit in limits.items()), "params=80%"])
    facts = search_run(run, config(small="10%"), budget=asked, quiet=True)
    winners = {budget["name"]: budget["winner"] for budget in facts["budgets"]}
    assert set(winners) == {"a", "b", "universal"}
    assert [set(b["limits"]) for b in facts["budgets"] if b["name"] == "a"] == [{"latency@a", "params"}]
    for name, limit in limits.items():
        for budget in (name[-1], "universal"):
            assert winners[budget]["predicted_costs"][name] <= limit
    best = {name: winner["selection_accuracy"] for name, winner in winners.items()}
    losses = {device: best[device] - best["universal"] for device in "ab"}
    assert facts["universal"] == {
        "key": winners["universal"]["key"],
        "losses": losses,
        "worst_loss": max(losses.values()),
    }
    assert min(losses.values()) >= 0
    write_architectures(run / "best.json", facts)
    assert {p.name for p in run.glob("best*")} == {"best.json", "best.a.json", "best.b.json"}
    print_winners(facts, explain=True)
    assert "the universal network" in capsys.readouterr().out

    least = [float(cost.minimum()[0]) for cost in costs.values()]
    tight = parse_max([f"latency@a={1.001 * least[0]!r}ms", f"latency@b={1.001 * least[1]!r}ms"])
    facts = search_run(run, config(small="10%"), budget=tight, quiet=True)
    assert {budget["name"] for budget in facts["budgets"]} == {"a", "b"} and facts["universal"] is None
    assert "no network serves all devices: budget 'universal'" in capsys.readouterr().err
    assert not (run / "search.json").exists()
