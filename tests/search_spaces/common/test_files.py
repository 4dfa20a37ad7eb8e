"""Files are written whole or not at all: exceptions, full disks and SIGKILL in the middle of writing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from search_spaces.common import files
from search_spaces.common.errors import UserError

ROOT = Path(files.__file__).parents[2]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def writers(path: Path):
    return {
        "bytes": lambda: files.write_bytes(path, b"new"),
        "text": lambda: files.write_text(path, "new"),
        "json": lambda: files.write_json(path, {"new": 1}),
    }


@pytest.mark.parametrize("kind", ["bytes", "text", "json"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_failure_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, kind, call, failure):
    path = tmp_path / "file.json"
    path.write_text("old")

    def fail(*args):
        raise failure

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        writers(path)[kind]()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.json"]
    if isinstance(failure, OSError):
        assert str(caught.value) == f"{path}: cannot be written: No space left on device. The old file is untouched."


def test_writing_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file.json"
    for value in ({"x": [1, 2.5, None]}, {"y": "ü"}):
        files.write_json(path, value)
        assert files.read_json(path, "thing") == value
        assert names(path.parent) == ["file.json"]


def test_the_data_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    files.write_text(tmp_path / "a", "text")
    assert calls == ["fsync", "replace", "fsync"]  # file, rename, folder
    calls.clear()
    with files.atomic_directory(tmp_path / "folder") as folder:
        (folder / "one").write_text("1")
    assert calls == ["fsync", "fsync", "replace", "fsync"]  # file, new folder, rename, folder above


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_json_has_no_nan(tmp_path, value):
    for write in (files.write_json, files.append_line):
        with pytest.raises(ValueError, match="JSON"):
            write(tmp_path / "x", value)
    assert names(tmp_path) == []


def test_below_a_plain_file_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "below"
    for write in (lambda: files.write_text(path, "x"), lambda: files.append_line(path, 1), lambda: enter(path)):
        with pytest.raises(UserError, match=r"cannot be (written|appended to)") as caught:
            write()
        assert str(caught.value).startswith(str(path))


def enter(path: Path) -> None:
    with files.atomic_directory(path):
        pass


@pytest.fixture
def tiny_disk(tmp_path) -> Path:
    """A file system of 64 KiB, where mounting is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(tiny_disk):
    files.write_text(tiny_disk / "file", "old")
    with pytest.raises(UserError, match="No space left on device"):
        files.write_bytes(tiny_disk / "file", bytes(200_000))
    with pytest.raises(UserError, match="No space left on device"), files.atomic_directory(tiny_disk / "x") as folder:
        (folder / "big").write_bytes(bytes(200_000))
    assert names(tiny_disk) == ["file"]
    assert (tiny_disk / "file").read_text() == "old"
    line, num = "x" * 5000, 0
    with pytest.raises(UserError, match="No space left on device"):
        while True:
            files.append_line(tiny_disk / "log", line)
            num += 1
    assert files.read_lines(tiny_disk / "log", "log") == [line] * num
    assert (tiny_disk / "log").read_bytes().endswith(b"\n")


# -- folders -----------------------------------------------------------------------------------------------------------


def test_folder_appears_whole(tmp_path):
    path = tmp_path / "out"
    for text in ("first", "second"):
        with files.atomic_directory(path) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / text).write_text(text)
            assert text not in [p.name for p in path.rglob("*")]
        assert names(path / "sub") == [text]
        assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("failure", [RuntimeError("x"), KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_folder_of_a_failed_block_vanishes(tmp_path, failure):
    with files.atomic_directory(tmp_path / "out") as folder:
        (folder / "old").write_text("old")
    expected = UserError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected), files.atomic_directory(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
        raise failure
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["old"]


def test_remove_leftovers(tmp_path):
    for name in (".a.json.12345678.tmp", "keep.json", "keep.tmp", ".hidden"):
        (tmp_path / name).write_text("x")
    for name in (".out.12345678.tmp", ".out.12345678.old", "keep"):
        (tmp_path / name / "sub").mkdir(parents=True)
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "keep", "keep.json", "keep.tmp"]


# -- lines -------------------------------------------------------------------------------------------------------------


def test_lines_round_trip(tmp_path):
    path = tmp_path / "sub" / "log.jsonl"
    assert files.read_lines(path, "log") == []
    values = [{"a": 1}, [1, "line\nbreak"], "ü", None, 2.5]
    for value in values:
        files.append_line(path, value)
    assert files.read_lines(path, "log") == values


@pytest.mark.parametrize("torn", [b"{", b'{"a": 1, "b', b'{"a": 1}', b'{"a": \0\0\0', b"x" * 200_000])
@pytest.mark.parametrize("before", [b"", b'{"n": 0}\n', b'{"n": 0}\n' * 9000])
def test_torn_tail_is_left_out_and_cut_off(tmp_path, torn, before):
    path = tmp_path / "log.jsonl"
    path.write_bytes(before + torn)
    whole = [{"n": 0}] * before.count(b"\n")
    assert files.read_lines(path, "log") == whole
    files.append_line(path, {"n": 1})
    assert path.read_bytes() == before + b'{"n": 1}\n'
    assert files.read_lines(path, "log") == [*whole, {"n": 1}]


@pytest.mark.parametrize("before", [b"", b'{"n": 0}\n'])
@pytest.mark.parametrize("foreign", [b"\x80\x04\x95pickle", b"PK\x03\x04", b'{"a": 1}\r\xff' + b"x" * 70_000])
def test_a_tail_that_is_no_torn_line_is_refused_and_kept(tmp_path, foreign, before):
    path = tmp_path / "log.jsonl"
    path.write_bytes(before + foreign)
    with pytest.raises(UserError, match=f"line {1 + before.count(10)} of this log is not JSON"):
        files.read_lines(path, "log")
    with pytest.raises(UserError, match="its last line is not JSON, nor the start of it"):
        files.append_line(path, {"n": 1})
    assert path.read_bytes() == before + foreign


def test_bad_line_in_the_middle_is_an_error(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"a": 1}\noops\n{"a": 2}\n')
    with pytest.raises(UserError, match="line 2 of this record file is not JSON"):
        files.read_lines(path, "record file")


def test_short_write_is_taken_back(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    files.append_line(path, 1)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: len(data) // 2]))
    with pytest.raises(UserError, match="cannot be appended to: No space left"):
        files.append_line(path, {"long": "line"})
    assert path.read_bytes() == b"1\n"


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "not a table: not valid JSON"),
        (b"\x80\x04\x95pickle", "not a table: not valid JSON"),
        (b"[" * 100_000, "not a table: not valid JSON"),
        (b"", "not a table: not valid JSON"),
    ],
)
def test_what_is_not_json(tmp_path, data, words):
    path = tmp_path / "t.json"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        files.read_json(path, "table")
    assert str(caught.value).startswith(f"{path}: {words}")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(UserError, match="no such table"):
        files.read_json(tmp_path / "none.json", "table")
    with pytest.raises(UserError, match="is a folder, not a table"):
        files.read_json(tmp_path, "table")
    with pytest.raises(UserError, match="cannot be read"):
        files.read_lines(tmp_path, "log")


def test_digests(tmp_path):
    assert files.digest({"a": 1, "b": [2]}) == files.digest({"b": [2], "a": 1}) != files.digest({"a": 1, "b": [3]})
    (tmp_path / "x").write_bytes(b"abc")
    assert files.file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# -- other processes ---------------------------------------------------------------------------------------------------

WRITE_FOR_EVER = """
import sys
from pathlib import Path
from search_spaces.common import files
folder, number = Path(sys.argv[1]), 0
while True:
    files.write_json(folder / "state.json", {"number": number, "filling": [number] * 20000})
    files.append_line(folder / "log.jsonl", {"number": number, "filling": "x" * 20000})
    with files.atomic_directory(folder / "out") as out:
        for name in ("a", "b"):
            (out / name).write_text(str(number))
    number += 1
"""

APPEND = """
import sys
from search_spaces.common import files
for number in range(60):
    files.append_line(sys.argv[1], {"writer": sys.argv[2], "number": number, "filling": "x" * 5000})
"""


def start(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT)


def test_killed_writer_leaves_whole_files_only(tmp_path):
    seen = 0
    for attempt in range(6):
        process = start(WRITE_FOR_EVER, tmp_path)
        deadline = time.monotonic() + 30
        while len(files.read_lines(tmp_path / "log.jsonl", "log")) <= seen and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.013 * attempt)
        process.send_signal(signal.SIGKILL)
        process.wait()
        state = json.loads((tmp_path / "state.json").read_text())
        assert state["filling"] == [state["number"]] * 20000
        lines = files.read_lines(tmp_path / "log.jsonl", "log")
        assert all(line["filling"] == "x" * 20000 for line in lines)
        assert len(lines) > seen
        seen = len(lines)
        files.remove_leftovers(tmp_path)
        assert set(names(tmp_path)) <= {"state.json", "log.jsonl", "out"}
        if (tmp_path / "out").exists():
            assert (tmp_path / "out" / "a").read_text() == (tmp_path / "out" / "b").read_text()


def test_a_line_that_another_process_is_writing_is_not_taken_for_torn(tmp_path):
    path = tmp_path / "log.jsonl"
    with open(path, "ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b'{"half": ')
        appending = threading.Thread(target=files.append_line, args=(path, {"next": 1}))
        appending.start()
        appending.join(0.2)
        assert appending.is_alive()
        other.write(b'"done"}\n')
    appending.join(10)
    assert files.read_lines(path, "log") == [{"half": "done"}, {"next": 1}]


def test_processes_append_side_by_side(tmp_path):
    path = tmp_path / "log.jsonl"
    processes = [start(APPEND, path, writer) for writer in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    lines = files.read_lines(path, "log")
    for writer in range(3):
        assert [line["number"] for line in lines if line["writer"] == str(writer)] == list(range(60))
