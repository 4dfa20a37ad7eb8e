"""The solar cells: read from the files of their package, without importing it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from search_spaces.common.errors import UserError

PROBABILITIES = ("0.0", "0.3333333333333333", "0.6666666666666666", "1.0")


def write_package(folder: Path, num: int = 40) -> Path:
    """A package of the same layout: `num` images whose left half says their label; importing it fails."""
    package = folder / "elpv_dataset"
    (package / "data" / "images").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('was imported')\n")
    lines = []
    for number in range(num):
        name, probability = f"images/cell{number:04d}.png", PROBABILITIES[number % 4]
        pixels = np.full((30, 30), 100, np.uint8)
        pixels[:, :15] = 200 if float(probability) > 0.5 else 20
        Image.fromarray(pixels).save(package / "data" / name)
        lines.append(f"{name}   {probability:20s} {'mono' if number % 3 else 'poly'}\n")
    (package / "data" / "labels.csv").write_text("".join(lines))
    return package / "data"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = write_package(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    return folder


def test_cells_are_defective_above_a_probability_of_half(load: Any, installed: Path) -> None:
    data = load("elpv", image_size=16, mean=[0], std=[1])
    assert data.class_names == ("functional", "defective") and (data.in_channels, data.image_size) == (1, 16)
    sizes = {split: data.size(split) for split in ("train", "calibration", "selection", "test")}
    assert sizes == {"train": 24, "calibration": 4, "selection": 4, "test": 8}
    assert data.class_counts("test") == (4, 4) and data.class_counts("selection") == (2, 2)
    images, labels = next(data.batches("train", batch_size=24))
    assert np.array_equal(images[:, 0, 8, 2].numpy() > 0.5, labels.numpy() == 1)
    assert "elpv_dataset" not in sys.modules
    assert data.licence == "CC-BY-NC-SA-4.0"


def test_sides_and_channels_are_settings(load: Any, installed: Path) -> None:
    assert load("elpv", channels=3, image_size=24).in_channels == 3
    assert load("elpv").image_size == 300
    streamed = load("elpv", image_size=16, memory="stream", workers=0)
    assert streamed.streamed and streamed.split_sha256 == load("elpv", image_size=16).split_sha256


def test_a_folder_takes_the_place_of_the_package(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    folder = write_package(tmp_path / "copy")
    assert load("elpv", path=str(folder), image_size=16).size("test") == 8
    with pytest.raises(UserError, match=r"data\.name: .*elpv-dataset.*not installed.*pip install 'ofa-nas\[elpv\]'"):
        load("elpv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/cell0000.png 1.5 mono", "line 2 is not: image, probability of a defect, mono or poly"),
        ("images/cell0000.png high mono", "line 2 is not"),
        ("images/cell0000.png 1.0", "line 2 is not"),
        ("images/cell0000.png 1.0 thin", "line 2 is not"),
        ("images/none.png 1.0 mono", r"none\.png"),
    ],
)
def test_a_list_that_is_none_is_named(load: Any, installed: Path, line: str, message: str) -> None:
    file = installed / "labels.csv"
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([first, line, *rest]))
    with pytest.raises(UserError, match=message):
        load("elpv", image_size=16)


def test_a_list_that_is_missing_or_empty(load: Any, installed: Path) -> None:
    file = installed / "labels.csv"
    file.write_text("\n")
    with pytest.raises(UserError, match="holds no images"):
        load("elpv", image_size=16)
    file.unlink()
    with pytest.raises(UserError, match=r"labels\.csv: data\.path: no such list"):
        load("elpv", image_size=16)
    with pytest.raises(UserError, match=r"elsewhere.labels\.csv: data\.path: no such list"):
        load("elpv", path="elsewhere")


@pytest.mark.slow
def test_the_real_cells(load: Any) -> None:
    if importlib.util.find_spec("elpv_dataset") is None:
        pytest.skip("the package elpv-dataset is not installed: pip install 'ofa-nas[elpv]'")
    data = load("elpv", image_size=32, split={"calibration": 256, "selection": 400, "test": 528})
    counts = [data.class_counts(split) for split in ("train", "calibration", "selection", "test")]
    assert tuple(map(sum, zip(*counts, strict=True))) == (1803, 821)
    for functional, defective in counts:
        assert defective / (functional + defective) == pytest.approx(821 / 2624, abs=0.005)
