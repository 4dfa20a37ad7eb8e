"""The benchmark of a transformer's genes: variants that differ in these genes only, and the table of what was found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import transformer_genes as genes
from benchmarks.training.budget import KnownBudgets
from ofa.config import parse_run_config
from search_spaces import get_space


def test_variants_are_parts_of_the_whole_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / genes.DATA_FILE).touch()
    monkeypatch.setenv("OFA_BENCH_DATA", str(tmp_path))
    spaces = {name: get_space(genes.space_of(name), 10) for name in genes.VARIANTS}
    operators = {name: set(space.operators()) for name, space in spaces.items()}
    assert spaces["all"].settings == get_space({"name": "vit_nano"}, 10).settings
    configs = [parse_run_config(genes.config_of(name, 1.0), file=name) for name in genes.VARIANTS]
    for name, config in zip(genes.VARIANTS, configs, strict=True):
        assert operators["base"] <= operators[name] <= operators["all"]
        assert (operators["base"] < operators[name]) == (name != "base")
        assert config.train == configs[0].train and config.data == configs[0].data


@pytest.mark.slow
def test_all_train_for_the_same_macs() -> None:
    budgets, short = KnownBudgets(None), replace(genes.SETTING, epochs=0.5)
    base = budgets.get(short, genes.space_of("base"), short.train)
    other = budgets.get(short, genes.space_of("patch"), short.train, macs=base.macs, seed=0)
    assert other.macs == pytest.approx(base.macs, rel=0.1) and other.epochs > base.epochs


def test_the_table_has_a_cell_where_there_is_a_winner() -> None:
    def network(limit: str, accuracy: float) -> dict[str, Any]:
        return {
            "limit": limit,
            "accuracy": {"test": {"accuracy": accuracy}},
            "latency": {"measured": {"median_ms": 0.26}},
        }

    found = genes.markdown({"variants": {"base": {"networks": [network("ms0_3", 0.5), network("ms1", 0.625)]}}})
    assert found.splitlines()[-1] == "| base |  | 50.0 % (0.26 ms) |  |  | 62.5 % (0.26 ms) |"


def test_without_a_run_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    words = ["transformer_genes", "--report", "--work", str(tmp_path), "--output", str(out)]
    monkeypatch.setattr("sys.argv", words)
    assert genes.main() == 2
    assert "no run is finished" in capsys.readouterr().err and not out.exists()
