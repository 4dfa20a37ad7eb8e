"""`ofa latency` and `ofa tables`: what one network costs, and what is there to ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from latency_tables.explain import explain
from latency_tables.table import LatencyTable, load_table
from ofa.cli import main
from search_spaces import SearchSpace


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    captured = capsys.readouterr()
    assert not caught.value.code, captured.err
    return captured.out


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("which", ["smallest", "largest"])
def test_layers_add_up_to_what_the_table_predicts(table: LatencyTable, tiny: SearchSpace, which: str) -> None:
    found = explain(table, which, confidence=0.9)
    row = tiny.smallest() if which == "smallest" else tiny.largest()
    assert found.total == pytest.approx(table.cost(tiny).evaluate(row[None])[0])
    assert sum(layer.value for layer in found.layers) + found.constant == pytest.approx(found.total)
    assert found.constant == pytest.approx(table.correction.intercept_ms)
    operators = [operator.key for _, operator in tiny.network(tiny.decode(row)[0])]
    assert [layer.operator for layer in found.layers] == operators
    assert found.interval is not None and found.interval[0] < found.total < found.interval[1]


def test_commands(table_file: Path, tiny: SearchSpace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture = tiny.decode(tiny.largest())[0]
    path, exported = tmp_path / "arch.json", tmp_path / "architecture.json"
    path.write_text(json.dumps(architecture.to_json()))
    exported.write_text(json.dumps({"schema": 1, "architecture": architecture.to_json()}))
    asked = ("largest", str(path), str(exported))
    facts = [json.loads(told(capsys, "latency", str(table_file), each, "--json")) for each in asked]
    assert facts[0] == facts[1] == facts[2] and facts[0]["unit"] == "ms" and facts[0]["key"] == architecture.key
    out = told(capsys, "latency", str(table_file), str(path), "--confidence", "0.5")
    assert "stem" in out and "with 0.5 confidence" in out
    assert "for an interval" in told(capsys, "latency", "samsung_note10", "smallest"), "nothing known of its error"

    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "phone.json").write_bytes(table_file.read_bytes())
    listed = json.loads(told(capsys, "tables", str(tmp_path), "samsung_note10", "--json"))["tables"]
    assert [entry["name"] for entry in listed] == ["phone", "samsung_note10"], "an architecture is no table"
    assert listed[0]["error"]["mape"] == load_table(table_file).heldout.mape and listed[0]["created"]
    assert listed[1]["error"] is None and listed[1]["licence"] == "Apache-2.0"
    assert "samsung_note10" in told(capsys, "tables") and "whole networks" in told(capsys, "tables", str(tmp_path))


def test_mistakes(table_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"depth": [1]}))
    assert "other.json" in mistake(capsys, "latency", str(table_file), str(other))
    assert "no such architecture" in mistake(capsys, "latency", str(table_file), str(tmp_path / "none.json"))
    assert "--confidence" in mistake(capsys, "latency", str(table_file), "smallest", "--confidence", "95")
    assert len(mistake(capsys, "latency", str(table_file), str(table_file))) < 600
    (tmp_path / "empty").mkdir()
    assert "holds no tables" in mistake(capsys, "tables", str(tmp_path / "empty"))
    assert "Did you mean" in mistake(capsys, "tables", "samsung_note1")
