from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from latency_tables import validate
from latency_tables.conformal import upper_factor
from latency_tables.table import LatencyTable, grade, load_table
from latency_tables.validate import Validation, compare, validate_table
from ofa.cli import main
from search_spaces import Architecture
from search_spaces.common.errors import UserError


@pytest.fixture
def steady(table: LatencyTable) -> LatencyTable:
    """A table whose predictions are up to 2 % off, however restless the machine was on which it was measured."""
    architectures = [Architecture.from_json(pair.architecture) for pair in table.heldout.pairs]
    predicted_ms = np.array([pair.predicted_ms for pair in table.heldout.pairs])
    errors = np.linspace(-0.02, 0.02, len(architectures))
    return table.model_copy(update={"heldout": grade(architectures, predicted_ms, predicted_ms * (1 + errors))})


def again(table: LatencyTable, factors: np.ndarray, operators: float = 1.0) -> Validation:
    """As if every held-out network took `factors` times what it took when the table was made."""
    space = table.measured_space()
    architectures = [Architecture.from_json(pair.architecture) for pair in table.heldout.pairs]
    then_ms = np.array([pair.measured_ms for pair in table.heldout.pairs])
    predicted_ms = np.array([pair.predicted_ms for pair in table.heldout.pairs])
    operators_ms = {key: operators * entry.median_ms for key, entry in list(table.entries.items())[::7]}
    return compare(table, space, architectures, predicted_ms, factors * then_ms, operators_ms)


def test_a_machine_as_it_was(table: LatencyTable) -> None:
    ones = np.ones(table.heldout.num)
    result = again(table, ones)
    assert not result.broken and result.drift == 0.0 and result.now == result.stored and result.inside >= 0.95
    assert set(result.operator_drift.values()) == {0.0} and len(result.operator_drift) >= 2
    assert not again(table, 1.03 * ones).broken, "below max_drift"


def test_a_slower_machine(table: LatencyTable) -> None:
    result = again(table, np.full(table.heldout.num, 1.25), operators=1.5)
    assert result.drift == pytest.approx(0.25) and any("take +25.0%" in claim for claim in result.broken)
    assert set(map(round, np.array(list(result.operator_drift.values())) * 100)) == {50}
    expected = [abs(pair.predicted_ms / (1.25 * pair.measured_ms) - 1) for pair in table.heldout.pairs]
    assert result.now.mape == pytest.approx(sum(expected) / len(expected))
    assert result.now.kendall_tau == pytest.approx(table.heldout.kendall_tau)


def test_a_machine_with_other_habits(steady: LatencyTable) -> None:
    """Half of the networks faster, half slower: no drift on the whole, but the table predicts nothing any more."""
    result = again(steady, np.where(np.arange(steady.heldout.num) % 2, 1.3, 1 / 1.3))
    assert result.inside == 0.0 and abs(result.drift) < 0.05
    assert any("outside the 95% interval" in claim for claim in result.broken)


def test_measured_again_for_real(table: LatencyTable) -> None:
    """The numbers of hasty measurements mean little; that every held-out network and operators were timed does."""
    result = validate_table(table, rounds=1)
    assert result.now.num == table.heldout.num and result.now.pairs != table.heldout.pairs
    predicted = [[pair.predicted_ms for pair in heldout.pairs] for heldout in (result.now, table.heldout)]
    assert predicted[0] == pytest.approx(predicted[1])
    assert set(result.operator_drift) <= {key.split("-")[0] for key in table.entries} and result.operator_drift


@pytest.mark.parametrize(("broken", "code"), [([], 0), (["Kendall tau fell"], 1)])
def test_exit_code(
    table_file: Path,
    table: LatencyTable,
    broken: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Validation(0.01, table.heldout, table.heldout, {"conv": 0.02}, 0.96, broken)
    monkeypatch.setattr(validate, "validate_table", lambda *arguments, **options: found)
    for words in (["validate", str(table_file)], ["validate", str(table_file), "--json"]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert (caught.value.code or 0) == code
        out = capsys.readouterr().out
        if "--json" in words:
            assert json.loads(out)["holds"] == (not broken) and json.loads(out)["broken"] == broken
        else:
            assert ("no longer true: Kendall tau fell" in out) == bool(broken) and ("holds" in out) != bool(broken)


def test_kept_validations_widen_the_interval(
    steady: LatencyTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was 8 % slower at another time is no surprise any more; what the table predicts stays."""
    slower = again(steady, np.full(steady.heldout.num, 1.08))
    assert slower.inside == 0.0 and len(slower.broken) == 1
    monkeypatch.setattr(validate, "validate_table", lambda *arguments, **options: slower)
    path = tmp_path / "mine.json"
    steady.save(path)
    command("validate", str(path), "--keep", "--json")
    kept = load_table(path)
    assert isinstance(kept, LatencyTable) and kept.heldout == steady.heldout and kept.entries == steady.entries
    assert len(kept.later) == 1
    before, after = (upper_factor(*each.graded, 0.9) for each in (steady, kept))
    assert before == pytest.approx(1.02, abs=0.003) and after == pytest.approx(1.08 * before, abs=0.02)
    for factor in (1.0, 1.08):
        result = again(kept, np.full(steady.heldout.num, factor))
        assert result.inside is not None and result.inside >= 0.95 and not result.broken
    data = json.loads(path.read_text())
    data["later"][0]["measured_ms"].pop()
    path.write_text(json.dumps(data))
    with pytest.raises(UserError, match="held-out networks"):
        load_table(path)


def test_only_tables_of_ones_own_learn(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["validate", "samsung_note10", "--keep"])
    assert caught.value.code == 2 and "--keep" in capsys.readouterr().err


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
    command(*words, "--num-classes", "10", "--in-channels", "1", "--budget", "30")
    told = capsys.readouterr().out
    assert "Kendall tau" in told and f"finished {table.created}, and not measured again" in told
    assert load_table(path) == table

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
