"""`ofa import table`, and the other commands on what it makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_tables.once_for_all.operators import operator_texts
from latency_tables.shipped import find_table
from latency_tables.table import load_table
from search_spaces import SearchSpace, get_space

SIDES = [128, 224]


def write(folder: Path, space: SearchSpace) -> list[Path]:
    """Published files of a space: every operator takes 0.5 ms."""
    paths = []
    for side in space.genome.option_values("resolution").tolist():
        texts = operator_texts(space.restrict(resolution=[side])).values()
        lines = {text: {"count": 10, "mean": 0.5, "std": 0.1} for parts in texts for text in parts}
        paths.append(folder / f"{side}.yaml")
        paths[-1].write_text(yaml.safe_dump(lines))
    return paths


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return write(tmp_path, get_space({"name": "ofa_mobilenet_v3"}).restrict(resolution=SIDES))


def test_import(ofa: Any, files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "out" / "phone.json"
    line = ["import", "table", *files, "--device", "phone", "-o", table]
    origin = ["--title", "Invented", "--source", "a test", "--licence", "CC0-1.0"]
    answer = ofa(*line, *origin)
    assert (answer.code, answer.err) == (0, "")
    assert "phone, published, not measured here" in answer.out and "resolutions 128, 224" in answer.out
    facts = json.loads(ofa(*line, *origin, "--json").out)  # the same again is no other table
    assert facts["table"] == str(table) and facts["resolutions"] == SIDES and facts["unused"] == {}
    assert facts["note"] == "published, not measured here" and facts["device"] == "phone"
    assert facts["source"]["title"] == "Invented" and facts["licence"] == "CC0-1.0"
    assert facts["num_operators"] == 2 * 95 and facts["range_ms"] == pytest.approx([15 * 0.5 + 0.5, 25 * 0.5 + 0.5])
    loaded = load_table(table)
    assert loaded.measured_space().fingerprint == get_space({"name": "ofa_mobilenet_v3"}).fingerprint


def test_lines_that_are_not_used_are_listed(ofa: Any, files: list[Path], tmp_path: Path) -> None:
    with files[0].open("a") as stream:
        stream.write("Softmax-input:1x1x1000-output:1000: {count: 1, mean: 0.1, std: 0}\n")
    line = ["import", "table", *files, "--device", "phone", "-o", tmp_path / "phone.json"]
    answer = ofa(*line)
    assert answer.code == 0 and "1 lines are no operator of ofa_mobilenet_v3: Softmax-input" in answer.err
    answer = ofa(*line, "--json")
    assert json.loads(answer.out)["unused"] == {str(files[0]): ["Softmax-input:1x1x1000-output:1000"]}


def test_mistakes_leave_everything_as_it_was(refused: Any, files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "phone.json"
    line = ["import", "table", *files, "--device", "phone", "-o", table]
    assert "no such latency table" in refused(*line, tmp_path / "none.yaml")
    assert "--unit: unknown unit 'h'" in refused(*line, "--unit", "h")
    assert "cannot be milliseconds" not in refused(*line, "--width-mult", "1.3")
    assert "holds the resolution 128" in refused(*line, files[0])
    assert "unknown search space 'ofa_mobilnet'" in refused(*line, "--space", "ofa_mobilnet")
    assert "a device's name" in refused("import", "table", *files, "--device", "a/b", "-o", table)
    space = tmp_path / "space.yaml"
    space.write_text("name: x\n")
    assert "needs a `space` section" in refused(*line, "--space", space)
    assert not table.exists()
    load_table(find_table("samsung_note10")).save(table)
    assert f"{table}: holds another table" in refused(*line)
    table.write_text("{}")
    assert f"{table}: schema: not a latency table" in refused(*line)


def test_another_table_is_replaced_when_told_to(ofa: Any, files: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "phone.json"
    table.write_text("{}")
    answer = ofa("import", "table", *files, "--device", "phone", "-o", table, "--replace")
    assert answer.code == 0 and load_table(table).device == "phone"


def test_a_space_file_is_taken_as_it_is(ofa: Any, files: list[Path], tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(yaml.safe_dump({"space": {"name": "ofa_mobilenet_v3", "resolution": SIDES, "kernel": [3, 7]}}))
    line = ["import", "table", *files, "--device", "phone", "-o", tmp_path / "phone.json", "--space", space, "--json"]
    facts = json.loads(ofa(*line).out)
    assert facts["space"]["description"]["settings"]["resolution"] == SIDES
    assert all("kernel:5" in text for text in facts["unused"][str(files[0])])


@pytest.mark.parametrize("name", ["samsung_note10", find_table("samsung_note10")])
def test_a_published_table_cannot_be_validated(refused: Any, name: str) -> None:
    message = refused("validate", name)
    assert "samsung_note10 cannot be validated: it was published, not measured here" in message and "CompOFA" in message
    assert "Did you mean 'samsung_note10'?" in refused("validate", "samsung_note")


def test_search_finds_the_shipped_device(refused: Any, finished: Path) -> None:
    """Here with the predictor of another space: the table says which one it is of."""
    line = ["search", "--accuracy", finished / "predictor", "--max", "latency=25ms", "--device"]
    assert "samsung_note10.json: this published latency table is of the space" in refused(*line, "samsung_note10")
    message = refused(*line, "samsung_note")
    assert "samsung_note: --device: no such latency table" in message and "Did you mean 'samsung_note10'" in message


def test_search_with_an_imported_table(ofa: Any, finished: Path, tmp_path: Path) -> None:
    """On the predictor of a run, for the space of its config."""
    space = SearchSpace.from_description(json.loads((finished / "supernet.json").read_text())["space"])
    table = tmp_path / "phone.json"
    line = ["import", "table", *write(tmp_path, space), "--device", "phone", "--unit", "ms", "-o", table]
    assert ofa(*line, "--space", finished / "config.yaml").code == 0
    line = ["search", "--accuracy", finished / "predictor", "--device", table, "--max", "latency=50%"]
    answer = ofa(*line)
    assert answer.code == 0 and "phone: published, not measured here; its error is not known" in answer.out
    facts = json.loads(ofa(*line, "--json").out)
    assert facts["devices"]["phone"]["published"]["note"] == "published, not measured here"
    blocks = [network["predicted_costs"]["latency@phone"] / 0.5 for network in facts["candidates"]]
    assert all(number == pytest.approx(round(number)) for number in blocks)
