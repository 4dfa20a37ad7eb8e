"""The shipped tables are what the kernels give now."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from latency_tables.cortex_m import counting
from latency_tables.cortex_m.compilers import Firmware, build_firmware, kernels_digest
from latency_tables.cortex_m.cores import get_core
from latency_tables.cortex_m.counting import Counter, call_key, network_program, operator_program
from latency_tables.cortex_m.emulator import Emulated, emulate
from latency_tables.cortex_m.program import Program
from latency_tables.cortex_m.table import count_table
from latency_tables.listed import ListedTable
from latency_tables.shipped import find_table, shipped_devices
from latency_tables.table import load_table
from ofa.cli import main
from search_spaces import Architecture

SHIPPED = [device for device in shipped_devices() if device.startswith("cortex_m")]


def shipped(device: str) -> tuple[ListedTable, Counter]:
    """Skips where another version of the compiler is installed: it makes other code."""
    table = load_table(find_table(device))
    assert isinstance(table, ListedTable)
    assert table.provenance["kernels"] == kernels_digest(), "the kernels have changed: count again"
    firmware = build_firmware(get_core(table.device))
    if firmware.provenance["compiler"] != table.provenance["compiler"]:
        pytest.skip(f"made by {table.provenance['compiler']}, here is {firmware.provenance['compiler']}")
    return table, Counter(firmware)


def test_there_are_some() -> None:
    assert SHIPPED == ["cortex_m4_mobilenet_v3_28", "cortex_m7_mobilenet_v3_28"]


@pytest.mark.parametrize("device", SHIPPED)
def test_some_operators_and_a_network_counted_again(device: str) -> None:
    table, counter = shipped(device)
    space = table.measured_space()
    operators = space.operators()
    for number in np.random.default_rng(0).choice(len(operators), 4, replace=False):
        operator = list(operators.values())[number]
        assert table.entries[operator.key] == counter.total(operator_program(operator))
    assert table.per_network == counter.around and table.checked is not None
    checked = table.checked.networks[3]
    network = network_program(space, Architecture.from_json(checked.architecture))
    assert checked.observed == checked.predicted == counter.whole(network)


@pytest.mark.slow
def test_validation_counts_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, _ = shipped("cortex_m4_mobilenet_v3_28")
    counted: dict[tuple[str, ...], Emulated] = {}

    def once(program: Program, firmware: Firmware) -> Emulated:
        """Both validations count the same programs."""
        key = (firmware.provenance["machine_code"], *map(call_key, program.calls))
        if key not in counted:
            counted[key] = emulate(program, firmware)
        return counted[key]

    monkeypatch.setattr(counting, "emulate", once)
    with pytest.raises(SystemExit) as caught:
        main(["validate", "cortex_m4_mobilenet_v3_28"])
    assert not caught.value.code and "24 operators and 3 whole networks" in capsys.readouterr().out
    wrong = table.model_copy(update={"entries": {key: count + 1 for key, count in table.entries.items()}})
    wrong.save(tmp_path / "wrong.json")
    with pytest.raises(SystemExit) as caught:
        main(["validate", str(tmp_path / "wrong.json"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert caught.value.code == 1 and not told["holds"] and len(told["changed"]) == 24, "the networks are as they were"


@pytest.mark.slow
@pytest.mark.parametrize("device", SHIPPED)
def test_all_of_it_counted_again(device: str, tmp_path: Path) -> None:
    table, _ = shipped(device)
    count_table(table.measured_space(), table.device, path=tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == find_table(device).read_bytes()
