"""`ofa adapt`: networks to measure, a table from their latencies, and the mistakes one can make between."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency_tables.table import load_table
from search_spaces import Architecture, SearchSpace, get_space

SPACE = ("--space", "mobilenet_v3_digits", "--num-classes", 10, "--in-channels", 1)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return get_space({"name": "mobilenet_v3_digits"}, 10, 1)


@pytest.fixture(scope="module")
def chosen(ofa: Any, space: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Eight chosen networks, filled in for a device that takes 0.01 ms a block and 1 ms for 10 M MACs."""
    path = tmp_path_factory.mktemp("chosen") / "networks.json"
    answer = ofa("adapt", *SPACE, "--choose", 8, "-o", path)
    assert answer.code == 0, answer.err
    content = json.loads(path.read_text())
    assert [entry["latency_ms"] for entry in content["networks"]] == [None] * 8
    for entry in content["networks"]:
        entry["latency_ms"] = latency(space, entry["architecture"])
    return json.dumps(content).encode()


@pytest.fixture
def networks(chosen: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "networks.json"
    path.write_bytes(chosen)
    return path


def latency(space: SearchSpace, architecture: Any) -> float:
    rows = space.encode([Architecture.from_json(architecture)])
    blocks = space.cost_of(lambda operator: 0.01).evaluate(rows)[0]
    return float(blocks + space.cost("macs").evaluate(rows)[0] / 1e7)


def damaged(path: Path, **changes: Any) -> Path:
    """A copy with other values in its second network, or at its top."""
    content = json.loads(path.read_text())
    entry = content["networks"][1]
    for key, value in changes.items():
        (entry if key in entry else content)[key] = value
    path.with_name("damaged.json").write_text(json.dumps(content))
    return path.with_name("damaged.json")


def test_from_networks_to_a_table_and_on(ofa: Any, space: SearchSpace, networks: Path, tmp_path: Path) -> None:
    table = tmp_path / "gpu.json"
    line = ["adapt", *SPACE, "--measured", networks, "--device", "gpu"]
    answer = ofa(*line, "-o", table)
    assert (answer.code, answer.err) == (0, "")
    assert "predicted from 8 networks and counted work alone" in answer.out and "leave-one-out" in answer.out
    facts = json.loads(ofa(*line, "-o", tmp_path / "again.json", "--json").out)
    assert (tmp_path / "again.json").read_bytes() == table.read_bytes()
    assert facts["num_networks"] == 8 and facts["num_operators"] == len(space.operators())
    assert facts["provenance"]["mape"] == f"{facts['held_out']['mape']:.4f}" and facts["held_out"]["mape"] < 0.1
    loaded = load_table(table)
    rows = space.sample(100, np.random.default_rng(0))
    truth = [latency(space, architecture.to_json()) for architecture in space.decode(rows)]
    predicted = loaded.cost(space).evaluate(rows)
    assert np.abs(predicted / truth - 1).mean() < 0.05
    # and from that table to another device, which takes twice as long
    content = json.loads(networks.read_text())
    for entry in content["networks"]:
        entry["latency_ms"] *= 2
    slower = tmp_path / "slower.json"
    slower.write_text(json.dumps(content))
    answer = ofa("adapt", table, "--measured", slower, "--device", "slow", "-o", tmp_path / "slow.json")
    assert answer.code == 0 and "predicted from 8 networks and the table of gpu" in answer.out
    twice = load_table(tmp_path / "slow.json").cost(space).evaluate(rows)
    assert np.abs(twice / predicted / 2 - 1).max() < 0.1


def test_csv_and_paths_say_the_same(ofa: Any, networks: Path, tmp_path: Path) -> None:
    content = json.loads(networks.read_text())["networks"]
    with (tmp_path / "networks.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["architecture", "latency_ms"])
        writer.writeheader()
        for number, entry in enumerate(reversed(content)):
            if number % 2:
                (tmp_path / f"{number}.json").write_text(json.dumps(entry["architecture"]))
                writer.writerow({"architecture": f"{number}.json", "latency_ms": entry["latency_ms"]})
            else:
                writer.writerow({**entry, "architecture": json.dumps(entry["architecture"])})
    tables = []
    for name in ("networks.json", "networks.csv"):
        given = ["--measured", tmp_path / name, "--device", "gpu"]
        assert ofa("adapt", *SPACE, *given, "-o", tmp_path / f"of_{name}.json").code == 0
        tables.append(load_table(tmp_path / f"of_{name}.json"))
    assert tables[0].model_dump(exclude={"source"}) == tables[1].model_dump(exclude={"source"})


def test_the_table_is_one_to_search_with(ofa: Any, run: Path, tmp_path: Path) -> None:
    known, networks, table = run / "tables" / "here.json", tmp_path / "networks.json", tmp_path / "new.json"
    assert ofa("adapt", known, "--choose", 4, "-o", networks).code == 0
    content = json.loads(networks.read_text())
    space = load_table(known).measured_space()
    for entry in content["networks"]:
        entry["latency_ms"] = latency(space, entry["architecture"])
    networks.write_text(json.dumps(content))
    assert ofa("adapt", known, "--measured", networks, "--device", "new", "-o", table).code == 0
    answer = ofa("search", "--accuracy", run / "predictor", "--device", table, "--max", "latency=60%", "--json")
    assert answer.code == 0, answer.err
    device = json.loads(answer.out)["devices"]["new"]
    assert device["published"]["note"] == "predicted from 4 networks and the table of here"


def test_networks_without_a_latency_are_left_out(ofa: Any, networks: Path, tmp_path: Path) -> None:
    given = damaged(networks, latency_ms=None)
    answer = ofa("adapt", *SPACE, "--measured", given, "--device", "gpu", "-o", tmp_path / "gpu.json")
    assert answer.code == 0 and "1 networks have no latency yet" in answer.err
    assert "predicted from 7 networks" in answer.out


@pytest.mark.parametrize("value", [float("nan"), -1.0, 0, float("inf"), 10**400, "fast", True])
def test_latencies_that_are_none(refused: Any, networks: Path, tmp_path: Path, value: Any) -> None:
    given = damaged(networks, latency_ms=value)
    message = refused("adapt", *SPACE, "--measured", given, "--device", "gpu", "-o", tmp_path / "gpu.json")
    assert message.startswith(f"{given}: networks[1].latency_ms: not a latency: a positive number of ms")


def test_mistakes_are_told_with_file_and_entry(refused: Any, networks: Path, tmp_path: Path) -> None:
    content = json.loads(networks.read_text())["networks"]
    line = ["adapt", *SPACE, "--device", "gpu", "-o", tmp_path / "gpu.json", "--measured"]
    twice = damaged(networks, architecture=content[0]["architecture"])
    assert f"{twice}: networks[1]: the same network as networks[0]" in refused(*line, twice)
    wrong = {**content[1]["architecture"], "depth": [99, 99, 99]}
    assert "networks[1].architecture" in refused(*line, damaged(networks, architecture=wrong))
    assert "networks of the space" in refused(*line, damaged(networks, fingerprint="0" * 12))
    assert "unit: latencies are told in ms" in refused(*line, damaged(networks, unit="s"))
    few = damaged(networks, networks=content[:2])
    assert "at least 3 measured networks are needed, and this has 2" in refused(*line, few)
    assert "networks[0]: needs the keys" in refused(*line, damaged(networks, networks=[{"architecture": {}}]))
    assert "not a file of measured networks" in refused(*line, damaged(networks, networks=3))
    assert "no such file of measured networks" in refused(*line, tmp_path / "none.json")
    rows = tmp_path / "rows.csv"
    rows.write_text("network,ms\n")
    assert "line 1: needs the columns" in refused(*line, rows)
    rows.write_text('architecture,latency_ms\n"{broken",3\n')
    assert "line 2.architecture: not valid JSON" in refused(*line, rows)
    rows.write_text("architecture,latency_ms\nnowhere.json,3\n")
    assert "no such architecture file of line 2 in rows.csv" in refused(*line, rows)


def test_mistakes_of_the_command_line(refused: Any, networks: Path, tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    given = ["--measured", networks, "-o", output]
    assert "give either --choose" in refused("adapt", *SPACE, "-o", output)
    assert "give either --choose" in refused("adapt", *SPACE, *given, "--choose", 3)
    assert "give a known table, or --space" in refused("adapt", *given, "--device", "gpu")
    assert "--device: the new device needs a name" in refused("adapt", *SPACE, *given)
    assert "--device: a device's name has" in refused("adapt", *SPACE, *given, "--device", "a/b")
    assert "a table has a space of its own" in refused("adapt", "samsung_note10", *SPACE, *given, "--device", "gpu")
    assert "--choose: choose from 3 to" in refused("adapt", *SPACE, "--choose", 2, "-o", output)
    assert "networks of the space" in refused("adapt", "samsung_note10", *given, "--device", "gpu")
    assert f"{networks}: -o: exists" in refused("adapt", *SPACE, "--choose", 3, "-o", networks)
    assert not output.exists()
