"""A table of counts: exact on whole networks, the same every time, goes on after an interruption, refuses others."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from latency_tables.cortex_m import counting
from latency_tables.cortex_m.compilers import Firmware
from latency_tables.cortex_m.counting import Counter, network_program
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.table import count_table
from latency_tables.listed import ListedTable
from latency_tables.table import load_table
from ofa.cli import main
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError

TINY = {"name": "mobilenet_v3_digits", "resolution": [12], "kernel": [3, 5], "expand": [3], "depth": [1, 2]}


@pytest.fixture(scope="module")
def tiny() -> SearchSpace:
    return get_space(TINY, 10, 1)


@pytest.fixture(scope="module")
def file(tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("counts") / "m4.json"
    count_table(tiny, "cortex-m4", path=path, num_checked=5)
    return path


def test_sums_are_what_whole_networks_take(file: Path, tiny: SearchSpace, m4: Firmware) -> None:
    table = load_table(file)
    assert isinstance(table, ListedTable) and table.device == "cortex-m4" and table.unit == "instructions"
    assert table.checked is not None and len(table.checked.networks) == 5 and table.checked.largest_error == 0
    rows = tiny.sample(3, np.random.default_rng(7))
    counter = Counter(m4)
    observed = [counter.whole(network_program(tiny, architecture)) for architecture in tiny.decode(rows)]
    assert table.cost(tiny).evaluate(rows).tolist() == observed
    assert [path.name for path in file.parent.iterdir()] == ["m4.json"]


def test_it_says_what_decides_the_numbers(file: Path, m4: Firmware) -> None:
    provenance = json.loads(file.read_text())["provenance"]
    assert provenance["compiler"].startswith("zig ") and "-mcpu=cortex_m4" in provenance["flags"]
    assert provenance["emulator"].startswith("unicorn ") and len(provenance["kernels"]) == 64
    assert provenance["machine_code"] == m4.provenance["machine_code"]


def test_the_same_inputs_give_the_same_file(file: Path, tiny: SearchSpace, tmp_path: Path) -> None:
    count_table(tiny, "cortex-m4", path=tmp_path / "again.json", num_checked=5)
    assert (tmp_path / "again.json").read_bytes() == file.read_bytes()


def test_a_finished_table_is_not_made_again(file: Path, tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "emulate", None)
    assert count_table(tiny, "cortex-m4", path=file, num_checked=5) == load_table(file)


@pytest.mark.parametrize("after", [1, 7])
def test_an_interruption_loses_the_entry_in_flight(
    after: int, file: Path, tiny: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, journal = tmp_path / "m4.json", tmp_path / "m4.journal.jsonl"
    counts: list[int] = []
    real = Counter.total

    def total(counter: Counter, program: Program) -> int:
        counts.append(real(counter, program))
        if len(counts) == after:
            raise KeyboardInterrupt
        return counts[-1]

    monkeypatch.setattr(Counter, "total", total)
    with pytest.raises(KeyboardInterrupt):
        count_table(tiny, "cortex-m4", path=path, num_checked=5)
    assert not path.exists() and len(journal.read_text().splitlines()) == 1 + after - 1
    with open(journal, "a") as stream:
        stream.write('{"kind": "operators", "key": "mbco')  # torn by a crash
    count_table(tiny, "cortex-m4", path=path, num_checked=5)
    assert path.read_bytes() == file.read_bytes() and not journal.exists()
    assert len(counts) == len(tiny.operators()) + 1


def test_a_journal_of_other_kernels_is_refused(tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "m4.json"
    journal = tmp_path / "m4.journal.jsonl"
    journal.write_text('{"schema": 1, "provenance": {"compiler": "another"}}\n')
    with pytest.raises(UserError, match="begun with another core, compiler or other kernels"):
        count_table(tiny, "cortex-m4", path=path)
    journal.write_text("[]\n")
    with pytest.raises(UserError, match="not a counting journal"):
        count_table(tiny, "cortex-m4", path=path)
    assert not path.exists()


def test_other_tables_are_not_overwritten_unasked(file: Path, tiny: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "m4.json"
    path.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="holds a count made otherwise: core cortex-m4 there, cortex-m3 here"):
        count_table(tiny, "cortex-m3", path=path, num_checked=5)
    with pytest.raises(UserError, match="holds a table of another space"):
        count_table(get_space(TINY, 7, 1), "cortex-m4", path=path, num_checked=5)
    with pytest.raises(UserError, match=r"provenance\.networks"):
        count_table(tiny, "cortex-m4", path=path, num_checked=5, seed=1)
    assert path.read_bytes() == file.read_bytes()
    replaced = count_table(tiny, "cortex-m3", path=path, num_checked=5, replace=True)
    assert load_table(path) == replaced and replaced.device == "cortex-m3"


def ofa(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_the_command_makes_the_table(tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(json.dumps({"space": TINY | {"depth": [1], "kernel": [3]}}))
    path = tmp_path / "m7.json"
    words = ("measure", "--space", space, "--num-classes", 10, "--in-channels", 1, "--device", "cortex-m7", "-o", path)
    code, out, err = ofa(*words)
    assert code == 0, err
    assert "operators of mobilenet_v3_digits on cortex-m7 (counted under emulation, not timed)" in out
    assert "ms" not in out.split() and "mean error 0.000%, largest 0.000%" in out
    told = json.loads(ofa(*words, "--json")[1])
    assert told["metric"] == "instructions" and told["checked"] == {"largest_error": 0.0} and "entries" not in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--device", "cortex-m4", "--rounds", "3"), "--rounds: cortex-m4 is not timed here, and takes no such option"),
        (("--device", "cortex-m4", "--compiler", "icc"), "unknown compiler 'icc'"),
        (("--device", "cortex-m44"), "unknown device 'cortex-m44'. Did you mean 'cortex-m4'?"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code, _, err = ofa("measure", "--space", "mobilenet_v3_digits", "-o", tmp_path / "t.json", *words)
    assert code == 2 and told in err and list(tmp_path.iterdir()) == []


def test_a_space_without_kernels_is_refused(tmp_path: Path) -> None:
    code, _, err = ofa("measure", "--space", "vit_nano", "--device", "cortex-m4", "-o", tmp_path / "t.json")
    assert code == 2 and "there is no Cortex-M kernel for" in err and not (tmp_path / "t.json").exists()
