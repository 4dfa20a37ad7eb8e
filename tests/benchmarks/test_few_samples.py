"""The benchmark of tables from few samples: without its data it says so, and its statistics are those of the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.few_samples import Case, line, main, statistics
from search_spaces import get_space


def test_without_data_it_is_skipped_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OFA_BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["few_samples", "--output", str(tmp_path / "out.json")])
    assert main() == 0
    assert "skipped" in capsys.readouterr().err and not (tmp_path / "out.json").exists()


def test_networks_that_were_taken_do_not_count() -> None:
    """A method that knows what it was shown, and nothing else, has no tau."""
    space = get_space({"name": "mobilenet_v3_digits"}, 10, 1)
    rows = np.unique(space.sample(60, np.random.default_rng(0)), axis=0)
    macs = space.cost("macs").evaluate(rows)
    empty = (np.zeros((len(rows), 1)), np.zeros((len(rows), 1)))
    case = Case(space, rows, macs, macs, empty, empty)

    def shown(taken: np.ndarray, target: np.ndarray) -> np.ndarray:
        predicted = np.full(len(target), 1.0)
        predicted[taken] = target[taken]
        return predicted

    assert statistics(case, shown, 10, 3, designed=False)["tau"] == [0.0, 0.0, 0.0]
    perfect = statistics(case, line(macs), 10, 3, designed=False)
    assert perfect["tau"] == pytest.approx([1.0] * 3) and perfect["mape"] == pytest.approx([0.0] * 3, abs=1e-6)
