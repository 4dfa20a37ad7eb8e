"""What is wrong with an input is told by key and value, and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables.listed import ListedTable
from ofa.cli import main

Ofa = Callable[..., tuple[int, str]]

ARCHITECTURE = '{"kept": "as it was"}'


@pytest.fixture
def ofa(tables: dict[str, ListedTable], stub: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ofa:
    """`ofa search ... -o best.json` beside a `best.json` that must stay as it is; the exit code and stderr."""

    def search(*arguments: str, devices: str = "a.json,b.json") -> tuple[int, str]:
        (tmp_path / "best.json").write_text(ARCHITECTURE)
        paths = ",".join(str(tmp_path / name) for name in devices.split(","))
        with pytest.raises(SystemExit) as stop:
            main(["search", "--accuracy", "stub", "--device", paths, "-o", str(tmp_path / "best.json"), *arguments])
        assert (tmp_path / "best.json").read_text() == ARCHITECTURE
        assert not stub, "told before anything is scored"
        return int(stop.value.code or 0), capsys.readouterr().err

    return search


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (["latency@a=5ms", "latency@a=6ms"], "error: --max: latency@a is limited twice (got 'latency@a=6ms')"),
        (["latency=5ms"], "error: --max latency: latency of which device?"),
        (["latency@c=5ms"], "error: --max latency@c: unknown device 'c'. Known: a, b"),
        (["energy@a=5mJ"], "error: --max energy@a: unknown cost 'energy@a'"),
        (["latencies@a=5ms"], "error: --max: unknown metric 'latencies'. Did you mean 'latency'?"),
        (["latency@a=5KiB"], "error: --max: '5KiB' has an unknown unit 'KiB' for latency"),
    ],
)
def test_limits_that_mean_nothing(ofa: Ofa, limits: list[str], message: str) -> None:
    code, err = ofa(*(word for limit in limits for word in ("--max", limit)))
    assert code == 2
    assert err.startswith(message), err


def test_limits_that_contradict_each_other(ofa: Ofa, tables: dict[str, ListedTable], space: object) -> None:
    """One device's own: nothing can serve it, whatever the other has."""
    least = tables["b"].cost(space).minimum()[0]
    code, err = ofa("--max", "latency@a=1s", "--max", f"latency@b={0.9 * least!r}ms")
    assert code == 3
    assert "budget 'b': no network of" in err and "latency@b <=" in err and "the smallest achievable is" in err
    assert err.count("\n") == 1


def test_a_table_that_lacks_operators(ofa: Ofa, tables: dict[str, ListedTable], tmp_path: Path) -> None:
    entries = dict(tables["b"].entries)
    lost = sorted(entries)[0]
    del entries[lost]
    tables["b"].model_copy(update={"entries": entries}).save(tmp_path / "b.json")
    code, err = ofa("--max", "latency@a=1s", "--max", "latency@b=1s")
    assert code == 2
    assert f"{tmp_path / 'b.json'}: entries: 1 of {len(entries) + 1} operators of" in err and lost in err


def test_two_tables_of_one_device(ofa: Ofa, tables: dict[str, ListedTable], tmp_path: Path) -> None:
    tables["a"].save(tmp_path / "copy.json")
    code, err = ofa("--max", "latency@a=1s", devices="a.json,copy.json")
    assert code == 2
    assert "--device: two tables of the latency of 'a'" in err and "copy.json" in err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}'])
def test_a_file_that_is_no_table(ofa: Ofa, tmp_path: Path, text: str) -> None:
    (tmp_path / "b.json").write_text(text)
    code, err = ofa("--max", "latency@a=1s")
    assert code == 2
    assert f"error: {tmp_path / 'b.json'}: " in err


def test_a_confidence_of_nothing_known(ofa: Ofa, tables: dict[str, ListedTable], tmp_path: Path) -> None:
    tables["b"].model_copy(update={"checked": None}).save(tmp_path / "b.json")
    code, err = ofa("--max", "latency@a=1s", "--max", "latency@b=1s", "--confidence", "0.9")
    assert code == 2
    assert "--confidence: nothing is known of the error of the table that tells latency@b" in err
    assert json.loads((tmp_path / "b.json").read_text())["checked"] is None
