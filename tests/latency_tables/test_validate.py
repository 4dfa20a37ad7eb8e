from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from latency_tables import validate
from latency_tables.samples import Measurement
from latency_tables.table import LatencyTable, load_table
from latency_tables.validate import validate_table
from ofa.cli import main
from search_spaces.common.errors import UserError


def test_drift_and_errors_of_a_slower_machine(table: LatencyTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network takes 1.25 times as long as when the table was made."""

    def slower(modules, shapes, device, *, rounds, seed):
        assert [shape[1] for shape in shapes] == [pair.architecture["resolution"] for pair in table.heldout.pairs]
        times = [1.25 * pair.measured_ms for pair in table.heldout.pairs]
        return [Measurement(median_ms=ms, p10_ms=ms, p90_ms=ms, count=1) for ms in times]

    monkeypatch.setattr(validate, "measure_networks", slower)
    result = validate_table(table)
    assert result.drift == pytest.approx(0.25)
    assert result.stored == table.heldout
    expected = [abs(pair.predicted_ms / (1.25 * pair.measured_ms) - 1) for pair in table.heldout.pairs]
    assert result.now.mape == pytest.approx(sum(expected) / len(expected))
    assert result.now.kendall_tau == pytest.approx(table.heldout.kendall_tau)


def test_another_device_is_refused(table: LatencyTable) -> None:
    other = table.model_copy(update={"device": table.device.model_copy(update={"cores": 512, "cpu": "Abacus"})})
    with pytest.raises(UserError, match=r"another device: cpu .* 'Abacus' there; cores .* 512 there"):
        validate_table(other, file=Path("t.json"))


def command(*words: str) -> None:
    with contextlib.suppress(SystemExit):  # typer leaves with code 0
        main(words)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("space: {name: mobilenet_v3_digits, resolution: [16], kernel: [3], expand: [3], depth: [1, 2]}\n")
    path = tmp_path / "t.json"
    words = [
        "measure",
        "--space",
        str(space),
        "--device",
        "onnxruntime",
        "-o",
        str(path),
        "--rounds",
        "1",
        "--max-other-load",
        "1",
    ]
    command(*words, "--num-classes", "10", "--in-channels", "1", "--json")
    printed = json.loads(capsys.readouterr().out)
    table = load_table(path)
    assert printed["num_operators"] == len(table.entries) and printed["heldout"]["mape"] == table.heldout.mape
    assert "entries" not in printed and "pairs" not in printed["heldout"]
    assert table.space.description["in_channels"] == 1
    command(*words, "--num-classes", "10", "--in-channels", "1")
    assert "Kendall tau" in capsys.readouterr().out

    command("validate", str(path), "--rounds", "1", "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed["stored"]["num"] == printed["now"]["num"] == table.heldout.num and "drift" in printed
    command("validate", str(path), "--rounds", "1")
    assert "mape" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "mobilenet_v3_digits", "--device", "onxruntime"], "Did you mean 'onnxruntime'"),
        (["--space", "mobilenet_v3_digit", "--device", "torch"], "Did you mean 'mobilenet_v3_digits'"),
        (["--space", "none.yaml", "--device", "torch"], "none.yaml"),
        (["--device", "torch"], "--space"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes_end_with_code_2(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["measure", *words, "-o", str(tmp_path / "t.json")])
    assert caught.value.code == 2 and message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
