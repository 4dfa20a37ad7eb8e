"""The benchmark of low rank: the networks it compares differ in rank only."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import low_rank
from search_spaces import get_space


def test_networks_differ_in_rank_only() -> None:
    space = get_space({"name": "vit_nano"}, 10)
    params = space.cost("params")
    found = list(low_rank.networks(space))
    assert [(part, share) for part, share, _ in found] == [
        ("MLP", 1), ("MLP", 0.5), ("MLP", 0.25), ("attention", 1), ("attention", 0.5), ("both", 1), ("both", 0.5),
    ]  # fmt: skip
    sizes = {(part, share): params.evaluate(space.encode([network]))[0] for part, share, network in found}
    dense = sizes["MLP", 1]
    assert dense == sizes["attention", 1] == sizes["both", 1] == params.evaluate(space.largest()[None])[0]
    assert sizes["both", 0.5] == sizes["MLP", 0.5] + sizes["attention", 0.5] - dense
    for part, groups in low_rank.PARTS.items():
        for _, _, network in (entry for entry in found if entry[0] == part):
            assert {k: v for k, v in network.values.items() if k not in groups} == {
                k: v for k, v in found[0][2].values.items() if k not in groups
            }


def test_a_run_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    monkeypatch.setattr("sys.argv", ["low_rank", str(tmp_path / "nowhere"), "--output", str(out)])
    assert low_rank.main() == 2
    assert "not a run folder" in capsys.readouterr().err and not out.exists()
