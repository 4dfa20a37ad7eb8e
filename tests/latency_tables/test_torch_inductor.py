"""AOTInductor as a runtime: what is said when a network cannot be unpacked."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from latency_tables.runtimes.torch_inductor import TorchInductor
from search_spaces.common.errors import UserError


@pytest.fixture
def runtime() -> TorchInductor:
    with pytest.warns(UserWarning, match="compiles every operator"):
        return TorchInductor()


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100_000))


NO_PACKAGE = bytes(200_000)


def test_no_room_to_unpack_is_said_with_the_folder(runtime: TorchInductor, full: None) -> None:
    with pytest.raises(UserError, match=r"no space left .* 0\.4 MB, 0\.1 MB are free.* TMPDIR"):
        runtime.load(NO_PACKAGE, (3, 8, 8), threads=1)


def test_no_room_to_unpack_a_file(runtime: TorchInductor, full: None, tmp_path: Path) -> None:
    path = tmp_path / "network.pt2"
    path.write_bytes(NO_PACKAGE)
    with pytest.raises(UserError, match="no space left"):
        runtime.prepare_file(path, threads=1, input_shapes=[(1, 3, 8, 8)])


def test_what_is_wrong_otherwise_is_not_called_a_full_disk(runtime: TorchInductor, tmp_path: Path) -> None:
    path = tmp_path / "network.pt2"
    path.write_bytes(NO_PACKAGE)
    with pytest.raises(UserError, match="not a package that AOTInductor can run here"):
        runtime.prepare_file(path, threads=1, input_shapes=[(1, 3, 8, 8)])
    with pytest.raises(RuntimeError):
        runtime.load(NO_PACKAGE, (3, 8, 8), threads=1)
