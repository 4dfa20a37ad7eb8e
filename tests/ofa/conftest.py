"""The command line as a user meets it: what is printed, the exit code, and what happened to the files."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ofa.cli import main

TINY = Path(__file__).with_name("tiny.yaml")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line of stderr that is not the pipeline telling where it is."""
        lines = [line for line in self.err.splitlines() if not line.startswith("[tiny] ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


Ofa = Callable[..., Answer]
Refused = Callable[..., str]


def _ofa(*words: object) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def ofa() -> Ofa:
    """Run a command line in this process."""
    return _ofa


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """Run a command line that must end with exit code 2 and one message, and leave every file here as it is."""

    def refused(*words: object) -> str:
        before = snapshot(tmp_path)
        answer = _ofa(*words)
        assert answer.code == 2, answer
        assert not answer.out
        after = snapshot(tmp_path)
        assert {path for path in before if after.get(path) != before[path]} == set()
        assert not list(tmp_path.rglob("*.tmp"))
        return answer.message

    return refused


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The config of the smallest complete run."""
    return TINY


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of it; to look at, not to change. One for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    runs = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with open(runs.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # closing unlocks it
        if not (runs / "tiny" / "report.html").exists():
            answer = _ofa("run", TINY, "--runs", runs)
            assert answer.code == 0, answer.err
    return runs / "tiny"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to damage, called `tiny` too."""
    shutil.copytree(finished, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="session")
def lines_of(tiny: Path) -> Callable[[Path], dict[str, list[str]]]:
    """Command lines on a run folder, by command."""

    def lines_of(run: Path) -> dict[str, list[str]]:
        table = str(run / "tables" / "here.json")
        return {
            "run": ["run", str(tiny), "--runs", str(run.parent)],
            "train": ["train", str(tiny), "--run", str(run)],
            "records": ["records", str(run), "-n", "16"],
            "fit": ["fit", str(run)],
            "search": ["search", str(run)],
            "search --max": ["search", str(run), "--max", "latency=60%"],
            "search --accuracy": ["search", "--accuracy", str(run / "predictor"), "--max", "macs=60k"],
            "export": ["export", str(run), "small"],
            "report": ["report", str(run)],
            "validate": ["validate", table],
            "measure": ["measure", "-o", table, "--config", str(tiny)],
        }

    return lines_of


@pytest.fixture
def each(refused: Refused, run: Path, lines_of: Any) -> Callable[..., None]:
    """Each of these commands must end with exit code 2 and a message that has these words."""

    def each(commands: str, *told: str) -> None:
        for command in commands.split(", "):
            message = refused(*lines_of(run)[command])
            assert all(words in message for words in told), (command, message)

    return each
