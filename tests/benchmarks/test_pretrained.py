"""The benchmark of start weights: a fair comparison, told apart from a missing one."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pretrained
from trainers.settings.train import TrainingConfig


def test_the_arms_differ_in_start_and_learning_rate_only(tmp_path: Path) -> None:
    dumps = []
    for arm in pretrained.ARMS:
        settings = pretrained.settings(arm, 0, tmp_path / "a.npz", tmp_path / "w.pth", epochs=1, images=500)
        dump = TrainingConfig.model_validate(settings).model_dump(mode="json")
        start, lr = dump["train"].pop("init"), dump["train"]["optimizer"].pop("lr")
        assert ((start is not None), lr) == pretrained.ARMS[arm] and dump.pop("name") == f"{arm}-0"
        dumps.append(dump)
    assert dumps[0] == dumps[1] == dumps[2]


def test_seeds_of_an_arm_are_summed_up_together() -> None:
    def run(value: float) -> dict[str, float]:
        return {"largest": value, "smallest": value / 2, "random_mean": value / 4}

    found = pretrained.summary({"fresh-0": run(0.4), "fresh-1": run(0.6), "fresh_larger_lr-0": run(0.8)})
    assert found["fresh"]["largest"] == {"mean": 0.5, "lowest": 0.4, "highest": 0.6}
    assert found["fresh_larger_lr"]["smallest"]["mean"] == 0.4 and "pretrained" not in found
    assert "| fresh | 0.02 | 50.0 (40.0 to 60.0) | 25.0 (20.0 to 30.0) |" in pretrained.table(found)


def test_without_weights_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr("sys.argv", ["pretrained", "--weights", str(tmp_path), "--output", str(out)])
    pretrained.main()
    assert "skipped: the weights" in capsys.readouterr().err and not out.exists()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-1.pth").write_bytes(b"")
    assert pretrained.find_weights(tmp_path) == tmp_path / "models" / "efficientnet-lite0-1.pth"
