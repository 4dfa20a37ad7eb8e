"""The table of a board: three costs in one file, exact on whole networks, the same every time, goes on where it was."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from latency_tables.cortex_m import counting, footprint
from latency_tables.cortex_m.board_count import count_board
from latency_tables.cortex_m.board_table import COSTS, BoardTable
from latency_tables.cortex_m.boards import Board, get_board
from latency_tables.cortex_m.code_size import network_flash
from latency_tables.cortex_m.compilers import build_firmware
from latency_tables.cortex_m.counting import Counter, network_program
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.table import count_table
from latency_tables.table import load_any_table, load_table
from ofa.cli import main
from search_spaces import SearchSpace, get_space
from search_spaces.common.errors import UserError

TINY = {"name": "mobilenet_v3_digits", "resolution": [12], "kernel": [3], "expand": [3], "depth": [1, 2]}


@pytest.fixture(scope="module")
def tiny() -> SearchSpace:
    return get_space(TINY, 10, 1)


@pytest.fixture(scope="module")
def board() -> Board:
    return get_board("nrf52840")


@pytest.fixture(scope="module")
def file(tiny: SearchSpace, board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("board") / "board.json"
    count_board(tiny, board, path=path, num_checked=3)
    return path


def made(file: Path) -> BoardTable:
    table = load_any_table(file)
    assert isinstance(table, BoardTable)
    return table


def test_costs_are_those_of_whole_networks(file: Path, tiny: SearchSpace, board: Board) -> None:
    costs = {one.metric: one.cost(tiny) for one in made(file).tables()}
    assert {metric: cost.reduce for metric, cost in costs.items()} == {
        "instructions": "sum",
        "peak_memory": "max",
        "flash": "sum",
    }
    firmware = build_firmware(board.processor)
    rows = tiny.sample(4, np.random.default_rng(7))
    programs = [network_program(tiny, architecture) for architecture in tiny.decode(rows)]
    counter = Counter(firmware)
    assert costs["instructions"].evaluate(rows).tolist() == [counter.whole(program) for program in programs]
    assert costs["peak_memory"].evaluate(rows).tolist() == [footprint.peak_memory(program) for program in programs]
    images = [network_flash(program, firmware, num_tables=1, board=board.name) for program in programs]
    assert costs["flash"].evaluate(rows) == pytest.approx(images, rel=2e-3)
    checked = made(file).checked
    assert checked is not None and len(checked.networks) == 3
    assert (checked.largest_errors.instructions, checked.largest_errors.peak_memory) == (0, 0)


def test_a_network_of_the_naive_plan_never_needs_less(
    file: Path, tiny: SearchSpace, board: Board, tmp_path: Path
) -> None:
    naive = count_board(tiny, board, path=tmp_path / "naive.json", memory_plan="naive", num_checked=1)
    rows = tiny.sample(8, np.random.default_rng(0))
    needs, fused = (table.tables()[1].cost(tiny).evaluate(rows) for table in (naive, made(file)))
    assert (needs >= fused).all()
    with pytest.raises(UserError, match=r"provenance\.memory_plan: holds a count made otherwise: memory_plan naive"):
        count_board(tiny, board, path=tmp_path / "naive.json", num_checked=1)


def test_a_network_has_what_the_board_leaves(file: Path, board: Board) -> None:
    capacities = {one.metric: one.capacity for one in made(file).tables(device="mine")}
    assert capacities == {"instructions": None, "peak_memory": 256 * 1024 - board.stack, "flash": 1024 * 1024}
    assert {one.device for one in made(file).tables(device="mine")} == {"mine"}
    assert made(file).of_core().device == "cortex-m4"


def test_an_interruption_loses_the_entry_in_flight(
    file: Path, tiny: SearchSpace, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, journal = tmp_path / "board.json", tmp_path / "board.journal.jsonl"
    counts: list[int] = []
    real = Counter.total

    def total(counter: Counter, program: Program) -> int:
        counts.append(real(counter, program))
        if len(counts) == 4:
            raise KeyboardInterrupt
        return counts[-1]

    monkeypatch.setattr(Counter, "total", total)
    with pytest.raises(KeyboardInterrupt):
        count_board(tiny, board, path=path, num_checked=3)
    assert not path.exists() and len(journal.read_text().splitlines()) == 1 + 3
    count_board(tiny, board, path=path, num_checked=3)
    assert path.read_bytes() == file.read_bytes() and not journal.exists()
    assert len(counts) == len(tiny.operators()) + 1


def test_a_finished_table_is_not_made_again(
    file: Path, tiny: SearchSpace, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "emulate", None)
    assert count_board(tiny, board, path=file, num_checked=3) == made(file)


def test_other_tables_are_not_overwritten_unasked(file: Path, tiny: SearchSpace, board: Board, tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    path.write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="board: holds a table of 'nrf52840', not of 'stm32f446'"):
        count_board(tiny, get_board("stm32f446"), path=path, num_checked=3)
    with pytest.raises(UserError, match="not of 'nrf52840' as it is now"):
        count_board(tiny, board.model_copy(update={"stack": 4096}), path=path, num_checked=3)
    with pytest.raises(UserError, match="holds a table of another space"):
        count_board(get_space(TINY, 7, 1), board, path=path, num_checked=3)
    with pytest.raises(UserError, match="is the table of a board"):
        count_table(tiny, "cortex-m4", path=path, num_checked=3)
    assert path.read_bytes() == file.read_bytes()


def test_what_needs_one_cost_says_so(file: Path) -> None:
    with pytest.raises(UserError, match="is the table of a board, nrf52840, and this needs one of a single cost"):
        load_table(file)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("entries", 0, "peak_memory"), 0, r"peak_memory: must be greater than or equal to 1"),
        (("checked", "largest_errors", "flash"), 0.5, r"the largest error of flash is 0\.5, but the networks give"),
        (("board", "core"), "cortex-m99", r"board\.core: unknown core 'cortex-m99'"),
        (("per_network", "code"), 3, r"per_network\.code: unknown key"),
    ],
)
def test_a_damaged_table_is_refused(file: Path, tmp_path: Path, place: tuple, value: object, told: str) -> None:
    data = json.loads(file.read_text())
    where = data
    for key in place[:-1]:
        where = list(where.values())[key] if isinstance(key, int) else where[key]
    where[place[-1]] = value
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=told):
        load_any_table(tmp_path / "bad.json")


def ofa(*words: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_the_command_makes_the_table_of_a_board_of_ones_own(file: Path, board: Board, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    text = json.dumps({**board.model_dump(mode="json"), "name": "mine", "sram": {"origin": 2**29, "size": "16KiB"}})
    own.write_text(text)
    space = tmp_path / "space.yaml"
    space.write_text(json.dumps({"space": TINY | {"depth": [1]}}))
    words = ("measure", "--space", space, "--num-classes", 10, "--in-channels", 1, "--device", own)
    code, out, err = ofa(*words, "-o", tmp_path / "mine.json")
    assert code == 0, err
    assert "operators of mobilenet_v3_digits on mine (counted and planned, not timed)" in out
    assert "of 14 KiB that are there" in out
    assert "instructions 0.000%, peak memory 0.000%" in out
    told = json.loads(ofa(*words, "-o", tmp_path / "mine.json", "--json")[1])
    assert told["board"]["name"] == "mine" and "entries" not in told and told["memory_plan"] == "overwriting"


def test_tables_and_networks_are_shown(file: Path, tiny: SearchSpace) -> None:
    code, out, err = ofa("tables", file)
    assert code == 0, err
    assert "board: instructions, peak_memory, flash of" in out and "256 KiB of SRAM, 1 MiB of flash" in out
    table = json.loads(ofa("tables", file, "--json")[1])["tables"][0]
    assert table["metric"] == list(COSTS) and table["board"]["core"] == "cortex-m4"
    code, out, err = ofa("latency", file, "largest", "--json")
    assert code == 0, err
    costs = json.loads(out)["costs"]
    row = tiny.encode([tiny.decode(tiny.largest()[None])[0]])
    for one in made(file).tables():
        assert costs[one.metric]["total"] == one.cost(tiny).evaluate(row)[0]
    layers = costs["peak_memory"]["layers"]
    peak = max(layers, key=lambda layer: layer["value"])
    assert costs["peak_memory"]["total"] == peak["value"]
    assert f"in {peak['slot']}" in ofa("latency", file, "largest")[1]


def test_a_table_that_no_longer_holds_is_told(file: Path, tmp_path: Path) -> None:
    data = json.loads(file.read_text())
    key = next(iter(data["entries"]))
    data["entries"][key]["flash"] += 16
    for network in data["checked"]["networks"]:
        network["predicted"]["flash"] = network["observed"]["flash"]
    data["checked"]["largest_errors"]["flash"] = 0.0
    (tmp_path / "old.json").write_text(json.dumps(data))
    code, out, _ = ofa("validate", tmp_path / "old.json")
    assert code == 1 and f"flash of {key}" in out
    assert "the table holds" in ofa("validate", file)[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--device", "stm32f746", "--rounds", "3"), "--rounds: stm32f746 is not timed here"),
        (("--device", "stm32f747"), "unknown device 'stm32f747'. Did you mean 'stm32f746'?"),
        (("--device", "nowhere.yaml"), "nowhere.yaml: no such board file"),
        (("--device", "cortex-m4", "--memory-plan", "naive"), "--memory-plan: cortex-m4 is a core"),
        (("--device", "torch", "--memory-plan", "naive"), "--memory-plan: goes with a board"),
        (("--device", "stm32f746", "--memory-plan", "tight"), "unknown memory plan 'tight'"),
    ],
)
def test_mistakes_are_told(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code, _, err = ofa("measure", "--space", "mobilenet_v3_digits", "-o", tmp_path / "t.json", *words)
    assert code == 2 and told in err and list(tmp_path.iterdir()) == []
