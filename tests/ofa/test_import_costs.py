"""`ofa import costs`, and a search that limits what it imports."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from latency_tables.table import load_table
from search_spaces import SearchSpace


@pytest.fixture
def space(finished: Path) -> SearchSpace:
    return SearchSpace.from_description(json.loads((finished / "supernet.json").read_text())["space"])


@pytest.fixture
def line(finished: Path, tmp_path: Path, space: SearchSpace, ofa: Any) -> Any:
    """The command line that imports 2 uJ per thousand MACs (and 1 uJ), or what `scale` makes of it."""

    def line(output: str, *more: object, scale: float = 1.0, name: str = "keys.csv") -> list[object]:
        shape = ["--space", finished / "config.yaml", "--num-classes", 3, "--in-channels", 1]
        path = tmp_path / name
        if not path.exists():
            answer = ofa("import", "costs", "--template", "-o", path, *shape, "--networks", 2)
            assert answer.code == 0 and "fill in the column `value`" in answer.out, answer
            rows = list(csv.DictReader(path.read_text().splitlines()))
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                for row in rows:
                    value = scale * (1 + 2e-3 * float(row["macs"]))
                    writer.writerow(row | {"value": "" if row["operator"].startswith("network") else value})
        return ["import", "costs", path, *shape, "-o", tmp_path / output, *more]

    return line


ENERGY = ("--device", "phone", "--metric", "energy", "--unit", "uJ")


def search(finished: Path, tables: list[Path], *limits: str) -> list[object]:
    options = [word for limit in limits for word in ("--max", limit)]
    return ["search", "--accuracy", finished / "predictor", "--device", ",".join(map(str, tables)), *options]


def test_import_and_search(ofa: Any, line: Any, finished: Path, space: SearchSpace, tmp_path: Path) -> None:
    origin = ["--note", "energy from a power meter", "--licence", "CC0-1.0", "--about", "meter=INA226"]
    answer = ofa(*line("phone_energy.json", *ENERGY, *origin))
    assert answer.code == 0 and "energy from a power meter" in answer.out and "mJ to " in answer.out, answer
    facts = json.loads(ofa(*line("phone_energy.json", *ENERGY, *origin, "--json")).out)  # the same again
    assert facts["unit"] == "mJ" and facts["provenance"]["meter"] == "INA226" and "entries" not in facts
    table = tmp_path / "phone_energy.json"
    cost = load_table(table).cost(space)
    assert facts["range"] == [cost.minimum()[0], cost.maximum()[0]]
    middle = (cost.minimum()[0] + cost.maximum()[0]) / 2
    for limit in (f"energy={middle}mJ", f"energy={1e3 * middle}uJ", "energy=50%", "energy@phone=50%"):
        answer = ofa(*search(finished, [table], limit), "--json")
        found = json.loads(answer.out)
        assert found["limits"]["energy@phone"] == pytest.approx(middle)
        energies = [network["predicted_costs"]["energy@phone"] for network in found["candidates"]]
        assert energies and max(energies) <= middle * (1 + 1e-9)
    published = found["devices"]["phone"]["published"]
    assert published["note"] == "energy from a power meter" and published["metric"] == "energy"
    shown = ofa(*search(finished, [table], "energy=50%"), "--explain").out
    assert "phone: energy from a power meter; its error is not known" in shown and " mJ" in shown


@pytest.mark.parametrize("metric", ["instructions", "cycles"])
def test_counts(ofa: Any, line: Any, finished: Path, space: SearchSpace, tmp_path: Path, metric: str) -> None:
    answer = ofa(*line("board.json", "--device", "m4", "--metric", metric, "--unit", "k"))
    assert answer.code == 0 and " ms" not in answer.out, answer
    table = tmp_path / "board.json"
    high = load_table(table).cost(space).maximum()[0]
    answer = ofa(*search(finished, [table], f"{metric}={high / 1e6}M"), "--json")
    assert json.loads(answer.out)["limits"][f"{metric}@m4"] == pytest.approx(high)
    shown = ofa(*search(finished, [table], f"{metric}=100%"))
    assert shown.code == 0 and metric in shown.out and " ms" not in shown.out
    answer = ofa(*search(finished, [table], f"{metric}=1"), "--json")
    assert answer.code == 3 and metric in json.loads(answer.out)["error"]


def test_two_metrics_of_one_device(
    ofa: Any, refused: Any, line: Any, finished: Path, space: SearchSpace, tmp_path: Path
) -> None:
    """Measured latency from phone.json, energy from a file that says it is of the phone."""
    measured, energy, other = (tmp_path / name for name in ("phone.json", "numbers.json", "other.json"))
    load_table(finished / "tables" / "here.json").save(measured)
    assert ofa(*line("numbers.json", *ENERGY)).code == 0
    answer = ofa(*search(finished, [energy, measured], "energy=50%", "latency@phone=80%"), "--json")
    found = json.loads(answer.out)
    assert set(found["limits"]) == {"energy@phone", "latency@phone"}
    for cost, limit in found["limits"].items():
        assert all(network["predicted_costs"][cost] <= limit for network in found["candidates"])
    assert set(found["devices"]) == {"energy@phone", "latency@phone"}
    assert found["devices"]["latency@phone"]["published"] is None
    assert found["devices"]["energy@phone"]["published"]["device"] == "phone"
    assert ofa(*search(finished, [measured, energy], "energy=50%", "latency=80%")).code == 0  # each is known once

    assert ofa(*line("other.json", "--device", "pi", "--unit", "mJ")).code == 0
    message = refused(*search(finished, [measured, energy, other], "energy=50%"))
    assert "--max energy: energy of which device?. Write for example energy@phone. Devices: phone, pi" in message
    assert ofa(*search(finished, [measured, energy, other], "energy@pi=50%", "latency=80%")).code == 0
    message = refused(*search(finished, [measured, energy], "cycles=3M"))
    assert "--max cycles: no table here tells the cycles of a device. They tell latency@phone, energy@phone" in message
    assert "unknown cost 'latency@pi'" in refused(*search(finished, [measured, other], "latency@pi=3ms"))
    (tmp_path / "again").mkdir()
    assert ofa(*line("again/x.json", *ENERGY, scale=2.0, name="twice.csv")).code == 0
    message = refused(*search(finished, [energy, tmp_path / "again" / "x.json"], "energy=50%"))
    assert "two tables of the energy of 'phone', the other is" in message and "numbers.json" in message


def test_given_numbers_cannot_be_validated_nor_be_a_runs(
    ofa: Any, refused: Any, line: Any, run: Path, tmp_path: Path
) -> None:
    assert ofa(*line("energy.json", *ENERGY, "--note", "a power meter")).code == 0
    message = refused("validate", tmp_path / "energy.json")
    assert "energy.json: this table of phone cannot be validated: its numbers were given" in message
    assert "no device here that could tell the energy again (a power meter)" in message
    (run / "tables" / "here.json").write_bytes((tmp_path / "energy.json").read_bytes())
    message = refused("search", run)
    assert "here.json: this table holds given numbers (a power meter), and a run needs one of its own device" in message


def test_mistakes_leave_everything_as_it_was(ofa: Any, refused: Any, line: Any, tmp_path: Path) -> None:
    good = line("energy.json", *ENERGY)
    keys = tmp_path / "keys.csv"
    template = ["import", "costs", "--template", "--space", "vit_nano", "-o", keys]
    assert "keys.csv: is there already, perhaps filled in" in refused(*template)
    assert "FILE: --template writes a file" in refused(*good, "--template")
    assert "--device: a file of numbers and a device's name" in refused(*line("energy.json"))
    assert "--unit: unknown unit 'ms' of energy" in refused(*line("energy.json", "--device", "phone", "--unit", "ms"))
    assert "--about: 'meter' is not of the form" in refused(*good, "--about", "meter")
    assert ofa(*good).code == 0
    message = refused(*line("energy.json", *ENERGY, "--licence", "mine"))
    assert message == f"{tmp_path}/energy.json: holds another table. Give another file, or --replace"
    keys.write_text(keys.read_text() + "conv-of-mine,3,,,\n")
    assert "'conv-of-mine' is no operator of 'mobilenet_v3_digits'" in refused(*good)
    assert ofa(*template, "--replace").code == 0 and "attention" in keys.read_text()


def test_a_run_is_told_at_once_that_it_cannot_measure_energy(refused: Any, tiny: Path, tmp_path: Path) -> None:
    budget = "search.budgets={small: {energy: 3mJ}}"
    message = refused("run", tiny, "--runs", tmp_path, "--set", budget)
    assert "search.budgets.small.energy: a run measures latency, not energy. Search its predictor" in message
