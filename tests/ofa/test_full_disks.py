"""No space left on device: one message, no half-written file, and the training goes on when there is space again."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TABLE = "tables/here.json"
SUPERNET = ("supernet.safetensors", "supernet.json")


@pytest.fixture
def full_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on there is no space for files whose path has this in it."""

    def full_for(part: str) -> None:
        sync, write = os.fsync, os.write

        def check(descriptor: int) -> None:
            if part in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", lambda descriptor: (check(descriptor), sync(descriptor))[1])
        monkeypatch.setattr(os, "write", lambda descriptor, data: (check(descriptor), write(descriptor, data))[1])

    return full_for


@pytest.mark.parametrize(
    ("full", "command", "gone", "told"),
    [
        ("step-", "train", (*SUPERNET, "checkpoints"), "checkpoints/step-00000003.safetensors: cannot be written"),
        ("supernet.safetensors", "train", SUPERNET, "supernet.safetensors: cannot be written"),
        ("journal", "measure", (TABLE,), "tables/here.journal.jsonl: cannot be appended to"),
        ("records.jsonl", "records", (), "records.jsonl: cannot be appended to"),
        ("predictor.safetensors", "fit", ("predictor",), "predictor.safetensors: cannot be written"),
        ("search.json", "search", ("search.json",), "search.json: cannot be written"),
        ("model.safetensors", "run", ("specialized",), "model.safetensors: cannot be written"),
        ("report.html", "report", (), "report.html: cannot be written"),
    ],
)
def test_disk_full(
    each: Any, run: Path, full_for: Any, full: str, command: str, gone: tuple[str, ...], told: str
) -> None:
    for name in gone:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    full_for(full)
    each(command, told, "No space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of so many bytes; called again: the same with another size."""
    mount = tmp_path / "disk"
    mount.mkdir()

    def small_disk(size: str) -> Path:
        options = f"size={size},remount" if mount.is_mount() else f"size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a disk needs root")
        return mount

    yield small_disk
    if mount.is_mount():
        subprocess.run(["umount", str(mount)], check=True)


def test_training_goes_on_when_there_is_space_again(
    refused: Any, ofa: Any, small_disk: Any, finished: Path, tiny: Path, lines_of: Any
) -> None:
    run = small_disk("300k") / "tiny"
    message = refused(*lines_of(run)["train"])
    assert message == (
        f"{run}/checkpoints/step-00000006.safetensors: cannot be written: No space left on device. "
        "The old file is untouched."
    )
    assert (run / "checkpoints" / "step-00000003.json").exists()
    small_disk("4m")
    assert ofa(*lines_of(run)["train"]).code == 0
    assert (run / SUPERNET[0]).read_bytes() == (finished / SUPERNET[0]).read_bytes()


@pytest.mark.parametrize("form", ["safetensors", "pt2", "onnx"])
def test_no_space_for_an_export(refused: Any, small_disk: Any, run: Path, form: str) -> None:
    disk = small_disk("16k")
    message = refused("export", run, "small", "--format", form, "-o", disk / "out")
    assert "No space left on device" in message and list(disk.iterdir()) == []
