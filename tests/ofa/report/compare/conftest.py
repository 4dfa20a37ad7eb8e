"""Two finished runs with invented numbers, of different supernets; the `second` has settings of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from search_spaces.common.files import read_json, write_json, write_text
from tests.ofa.report.invented import SPLITS, WEIGHTS, Run

#: stand for the second run's weights
OTHER = "12" * 32


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    content = read_json(path, "file")
    change(content)
    write_json(path, content)


def change_config(folder: Path, **sections: Any) -> None:
    path = folder / "config.yaml"
    write_text(path, yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}, allow_unicode=True))


def replace_everywhere(folder: Path, old: str, new: str) -> None:
    for path in (*folder.rglob("*.json"), *folder.rglob("*.jsonl")):
        path.write_text(path.read_text().replace(old, new))


def other_test_images(folder: Path) -> None:
    replace_everywhere(folder, SPLITS["test"], "9" * 64)


@pytest.fixture
def first(finished_run: Run, tmp_path: Path) -> Path:
    return finished_run.copy(tmp_path / "first").folder


@pytest.fixture
def second(finished_run: Run, tmp_path: Path) -> Path:
    folder = finished_run.copy(tmp_path / "second").folder
    replace_everywhere(folder, WEIGHTS, OTHER)
    change_config(folder, name="second", train={"epochs": 20, "recipe": "sandwich"})
    cost = {"forward_macs": 10, "backward_macs": 20, "teacher_macs": 0, "selection_macs": 0, "wall_seconds": 7200.0}
    change_json(folder / "supernet.json", lambda supernet: supernet.update(cost=cost))
    return folder
