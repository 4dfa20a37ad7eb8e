"""A run for a board: from a config to a bundle that was verified, in one command; and what a config says of boards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.cortex_m.board_table import BoardTable
from latency_tables.table import load_any_table
from ofa.config import load_config
from ofa.search.int8_accuracy import FILE, Int8Evaluator
from ofa.search.search_file import check_search
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json

for package in ("unicorn", "ziglang", "elftools"):
    pytest.importorskip(package)

TINY = Path(__file__).with_name("tiny_board.yaml")


@pytest.fixture(scope="module")
def board_run(tmp_path_factory: pytest.TempPathFactory, ofa: Any) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    answer = ofa("run", TINY, "--runs", runs)
    assert answer.code == 0, answer.err
    return runs / "tiny"


def winners_of(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = check_search(read_json(run / "search.json", "search"), file=run)["budgets"]
    return found


def test_winners_are_chosen_in_int8_and_keep_the_boards_limits(board_run: Path) -> None:
    table = load_any_table(board_run / "tables" / "board.json")
    assert isinstance(table, BoardTable)
    costs = {f"{one.metric}@board": one.cost(table.measured_space()) for one in table.tables()}
    accuracies = {
        entry["key"]: entry["accuracy"] for entry in map(json.loads, (board_run / FILE).read_text().splitlines())
    }
    for budget in winners_of(board_run):
        assert budget["chosen_by"] == "int8_accuracy"
        assert {"peak_memory@board", "flash@board"} <= budget["limits"].keys()
        row = table.measured_space().encode([Architecture.from_json(budget["winner"]["architecture"])])
        for name, limit in budget["limits"].items():
            assert budget["winner"]["predicted_costs"][name] == costs[name].evaluate(row)[0] <= limit
        admitted = [network for network in budget["candidates"] if network["status"] != "rejected"]
        assert budget["winner"]["int8_accuracy"] == max(network["int8_accuracy"] for network in admitted)
        assert all(network["int8_accuracy"] == accuracies[network["key"]] for network in admitted)
    assert winners_of(board_run)[0]["limits"]["peak_memory@board"] == 2048


def test_every_winner_ran_on_the_emulated_board_as_predicted(board_run: Path) -> None:
    for budget in winners_of(board_run):
        folder = board_run / "specialized" / budget["name"]
        report = read_json(folder / "report.json", "report")
        board = report["boards"]["board"]
        verified, predicted = board["verified"], board["predicted"]
        assert verified["holds"] and verified["num_golden"] == 8 and not verified["wrong"]
        assert verified["instructions"] == predicted["instructions"]
        assert verified["arena_bytes"] == predicted["peak_memory"] <= budget["limits"]["peak_memory@board"]
        assert verified["flash_bytes"] == pytest.approx(predicted["flash"], rel=0.01)
        assert board["accuracy"]["selection"]["accuracy"] == budget["winner"]["int8_accuracy"]
        assert board["accuracy"]["test"]["num_images"] == 90
        assert (folder / "mcu" / "net.c").exists()


def test_the_same_command_again_does_nothing(board_run: Path, ofa: Any) -> None:
    kept = ("search.json", FILE, "test_ledger.jsonl", "specialized/small/report.json", "tables/board.json")
    before = {name: ((board_run / name).read_bytes(), (board_run / name).stat().st_mtime_ns) for name in kept}
    assert ofa("run", TINY, "--runs", board_run.parent).code == 0
    assert {name: ((board_run / name).read_bytes(), (board_run / name).stat().st_mtime_ns) for name in kept} == before


def test_reports_tell_both_accuracies(board_run: Path, ofa: Any) -> None:
    page = (board_run / "report.html").read_text()
    assert 'id="boards"' in page and "nRF52840" in page and "in int8, which chose it" in page
    report = json.loads((board_run / "report.json").read_text())
    assert report["boards"]["board"]["costs"]["peak_memory"]["capacity"] == 254 * 1024
    assert all(winner["chosen_by"] == "int8_accuracy" for winner in report["winners"])
    out = ofa("search", board_run).out
    assert "in int8" in out
    assert "i8" in ofa("report", board_run).out


def test_an_accuracy_on_file_is_not_computed_again(board_run: Path) -> None:
    config = load_config(TINY)
    entry = json.loads((board_run / FILE).read_text().splitlines()[0])
    winners = [budget["winner"] for budget in winners_of(board_run)]
    evaluator = Int8Evaluator(board_run, config)
    evaluator._accuracy = None  # type: ignore[method-assign, assignment]
    for winner in winners:
        assert evaluator(Architecture.from_json(winner["architecture"])) == winner["int8_accuracy"]
    other = config.model_copy(update={"quantization": config.quantization.model_copy(update={"num_images": 8})})
    assert entry["key"] not in Int8Evaluator(board_run, other)._known


def test_a_damaged_file_of_accuracies_is_told(board_run: Path, tmp_path: Path) -> None:
    (tmp_path / "supernet.json").write_bytes((board_run / "supernet.json").read_bytes())
    (tmp_path / FILE).write_text('{"key": "a", "accuracy": 2, "setup": "s"}\n')
    with pytest.raises(UserError, match="line 1 is no accuracy of a network"):
        Int8Evaluator(tmp_path, load_config(TINY))


def test_a_changed_bundle_is_exported_again(board_run: Path, ofa: Any) -> None:
    source = board_run / "specialized" / "small" / "mcu" / "net.c"
    text = source.read_text()
    source.write_text(text + "/* changed */\n")
    assert ofa("run", TINY, "--runs", board_run.parent).code == 0
    assert source.read_text() == text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("devices.0.runtime=torch", "devices.0.runtime: a device is a board or a runtime of this machine, not both"),
        ("devices.0.board=nrf52841", "devices.0.board: unknown board 'nrf52841'. Did you mean 'nrf52840'?"),
        ("devices.0.board=none.yaml", "devices.0.board: no such board file (got 'none.yaml')"),
        ("devices.0.treads=1", "devices.0.treads: unknown key (got 1). Known keys here: board, compiler, holdout"),
        ("devices.0.memory_plan=tight", "devices.0.memory_plan: must be 'naive' or 'overwriting'"),
        ("search.budgets.small={latency: 1ms}", "search.budgets.small.latency: no table here tells the latency"),
        ("search.budgets.small={flash@phone: 1MB}", "unknown device 'phone'"),
        ("search.budgets.small={cycles: 1M}", "a run measures latency, not cycles"),
        (
            "devices=[{name: here, runtime: torch}]",
            "small.instructions: a run measures latency, not instructions. Instr",
        ),
        (
            "devices=[{name: a, board: rp2350}, {name: b, board: sam3x8e}]",
            "small.instructions: instructions of which device",
        ),
    ],
)
def test_mistakes_in_a_config_are_told_at_once(change: str, told: str, tmp_path: Path, ofa: Any) -> None:
    answer = ofa("run", TINY, "--runs", tmp_path, "--set", change)
    assert answer.code == 2 and told in answer.err, answer.err
    assert not list(tmp_path.iterdir())


def test_memory_that_no_network_keeps_is_refused_before_training(board_run: Path, tmp_path: Path, ofa: Any) -> None:
    (tmp_path / "tiny" / "tables").mkdir(parents=True)
    table = board_run / "tables" / "board.json"
    (tmp_path / "tiny" / "tables" / "board.json").write_bytes(table.read_bytes())
    answer = ofa("run", TINY, "--runs", tmp_path, "--set", "search.budgets.small={peak_memory: 100B}")
    assert answer.code == 3 and "peak_memory@board <= 100 B; the smallest achievable is" in answer.err
    assert not (tmp_path / "tiny" / "supernet.json").exists() and not (tmp_path / "tiny" / "checkpoints").exists()


def test_a_predictor_is_searched_with_the_boards_table(board_run: Path, ofa: Any) -> None:
    table = board_run / "tables" / "board.json"
    words = ("search", "--accuracy", board_run / "predictor", "--device", table, "--max", "instructions=50%", "--json")
    facts = json.loads(ofa(*words).out)
    assert set(facts["limits"]) == {"instructions@nrf52840", "peak_memory@nrf52840", "flash@nrf52840"}
    assert np.isfinite(facts["candidates"][0]["predicted_costs"]["flash@nrf52840"])
