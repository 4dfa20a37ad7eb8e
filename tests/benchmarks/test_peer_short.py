"""The benchmark beside the peer in its short form: everything runs, and both sides count the same. Nothing is timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peer.__main__ import VENV, main
from benchmarks.peer.environment import PeerUnavailable, ensure_peer
from benchmarks.peer.process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.peer]


@pytest.fixture(scope="module")
def peer_python() -> Path:
    try:
        return ensure_peer(VENV)
    except PeerUnavailable as error:
        pytest.skip(f"the peer cannot be installed here: {error}")


@pytest.fixture(scope="module")
def output(peer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One repetition of every item on one thread (two are many times slower when another process is busy)."""
    path = tmp_path_factory.mktemp("peer") / "short.json"
    assert main(["--short", "--repeats", "1", "--threads", "1", "--output", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def items(output: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(output.read_text())["items"]
    return loaded


def test_every_item_is_measured_or_says_why_not(items: dict[str, Any]) -> None:
    assert {key[0] for key in items} == set("abcde")
    assert all("lanes" in entry or "OFA_BENCH_DATA" in entry["skipped"] for entry in items.values())


def test_both_sides_count_the_same(items: dict[str, Any]) -> None:
    checks = {check["title"]: check for check in items["e-count"]["checks"]}
    assert len(checks) == 2 and all(check["met"] for check in checks.values()), checks


def test_both_sides_predict_the_same(items: dict[str, Any]) -> None:
    if "skipped" in items["c-search-25"]:
        pytest.skip(items["c-search-25"]["skipped"])
    checks = {check["title"]: check for check in items["c-search-25"]["checks"]}
    for title in ("within 25 ms, as the peer has it", "accuracy as the peer predicts it"):
        assert checks[title]["met"], checks
    assert checks["latency as the peer predicts it"]["met"], checks


def test_what_was_measured_is_kept(output: Path, items: dict[str, Any]) -> None:
    """A second run measures nothing that is there; one item can be measured again."""
    written = output.read_bytes()
    assert main(["--short", "--threads", "1", "--output", str(output)]) == 0
    assert output.read_bytes() == written
    assert main(["--short", "--threads", "1", "--only", "e", "--repeats", "1", "--again", "--output", str(output)]) == 0
    again = json.loads(output.read_text())["items"]
    assert again["e-count"] != items["e-count"]
    assert {key: entry for key, entry in again.items() if key != "e-count"} == {
        key: entry for key, entry in items.items() if key != "e-count"
    }
    assert "e-count" in output.with_suffix(".md").read_text()


def test_the_peer_is_the_peer(peer_python: Path, tmp_path: Path) -> None:
    """`import ofa` there is not this project's, whose rooms are refused even if they could be found."""
    code = (
        "import sys, types\n"
        "package = types.ModuleType('benchmarks'); package.__path__ = [sys.argv[1] + '/benchmarks']\n"
        "sys.modules['benchmarks'] = package\n"
        "import benchmarks.peer.theirs, ofa.tutorial\n"
        "assert not hasattr(ofa, 'cli') and 'venv' in ofa.__file__, ofa.__file__\n"
        "sys.path.append(sys.argv[1])\n"
        "for room in ('search_spaces', 'trainers'):\n"
        "    try: __import__(room)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [str(peer_python), "-I", "-c", code, str(ROOT)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("has no place in the peer's process") == 2
    assert Path(sys.executable) != peer_python
