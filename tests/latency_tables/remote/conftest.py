from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency_tables.remote.bundle import write_bundle
from latency_tables.remote.on_device.main import main as run_on_device
from latency_tables.settings import DeviceSettings
from search_spaces import SearchSpace


@pytest.fixture(scope="session")
def small(tiny: SearchSpace) -> SearchSpace:
    return tiny.restrict(resolution=[16])


@pytest.fixture(scope="session")
def bundle_file(small: SearchSpace, device: Callable[..., DeviceSettings], tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "out.zip"
    write_bundle(small, device(), path=path)
    return path


@pytest.fixture(scope="session")
def results_file(bundle_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the runner made of it; measured in this process, once for all tests."""
    path = tmp_path_factory.mktemp("results") / "results.json"
    assert run_on_device(["--bundle", str(bundle_file), "-o", str(path)]) == 0
    return path


@pytest.fixture
def edited(results_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """The results with something changed, as a file of their own."""

    def edited(change: Callable[[Any], object], name: str = "edited.json") -> Path:
        data = json.loads(results_file.read_text())
        change(data)
        path = tmp_path / name
        path.write_text(json.dumps(data))
        return path

    return edited


@pytest.fixture
def repacked(bundle_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """The bundle with the content of some files changed, or (None) without them."""

    def repacked(changes: dict[str, bytes | None]) -> Path:
        path = tmp_path / "repacked.zip"
        with zipfile.ZipFile(bundle_file) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                content = changes.get(name, old.read(name))
                if content is not None:
                    new.writestr(name, content)
        return path

    return repacked
