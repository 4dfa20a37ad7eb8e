"""The page of a comparison in a browser, and the command that makes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ofa.report.compare.compare import write_comparison
from search_spaces.common.errors import UserError
from tests.browser import Visits, until
from tests.ofa.report.compare.conftest import change_json
from tests.ofa.report.invented import NAME

FRONT = "#front-0"


@pytest.fixture
def page_file(first: Path, second: Path, tmp_path: Path) -> Path:
    return write_comparison([first, second], tmp_path / "out")[1]


def shown(page: Any) -> dict[str, Any]:
    """Run -> visibility of all its traces in the first chart."""
    traces = page.evaluate(f"document.querySelector('{FRONT}').data.map((t) => [t.name, t.visible ?? true])")
    return {name: {visible for other, visible in traces if other == name} for name, _ in traces}


def test_runs_are_hidden_networks_asked_and_curves_turned(visits: Visits, page_file: Path) -> None:
    page = visits.open(page_file)
    page.wait_for_selector(f"html[data-compared=complete] {FRONT} .legendtoggle")
    before = shown(page)
    assert len(before) == 2 and all(visible == {True} for visible in before.values())
    page.locator(f"{FRONT} .legendtoggle").nth(1).click()
    until(page, f"document.querySelector('{FRONT}').data.some((t) => t.visible === 'legendonly')")
    assert shown(page) == {**before, "second": {"legendonly"}}
    page.locator(f"{FRONT} .scatterlayer .trace .points path").last.hover(force=True)
    tip = page.locator(f"{FRONT} .hoverlayer .hovertext").first.text_content()
    assert "selection accuracy" in tip and " ms " in tip
    assert "<b>&amp;</b>" in tip, "the name as it was written"

    loss = "document.querySelector('#curves-loss')"
    assert page.evaluate(f"{loss}.data.length") == 0, "no log of these tells MACs"
    page.get_by_text("by step").click()
    assert page.evaluate(f"{loss}.data.map((t) => t.x.at(-1))") == [300, 300]
    assert len(set(page.evaluate(f"{loss}.data.map((t) => t.line.dash)"))) == 2, "not told apart by colour alone"
    page.locator("#training .pair > div").nth(1).get_by_text("smallest").click()
    assert page.evaluate(f"{loss}.layout.yaxis.title.text") == "training loss, smallest"


def test_it_fits_a_phone_and_reads_without_a_script(visits: Visits, page_file: Path) -> None:
    page = visits.open(page_file, width=390, height=800, javascript=False)
    text = page.inner_text("body")
    for words in (
        NAME,
        "Before you compare",
        "The same budget",
        "train.recipe",
        '"sandwich"',
        "may be chance",
        "Their architectures",
    ):
        assert words in text
    page.locator("summary").first.click()
    assert page.locator("#fronts details[open] tbody tr").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_files_go_where_they_are_wanted(first: Path, second: Path, tmp_path: Path) -> None:
    facts, page = write_comparison([first, second])
    assert page == tmp_path / "comparison.html" and page.exists()
    assert json.loads((tmp_path / "comparison.json").read_text()) == json.loads(json.dumps(facts))
    _, named = write_comparison([second, first], tmp_path / "sub" / "mine.html")
    assert named.exists() and named.with_suffix(".json").exists()


@pytest.mark.parametrize("words", [("--compare", "A", "B"), ("A", "--compare", "B"), ("A", "B", "--compare", "--json")])
def test_the_command(ofa: Any, first: Path, second: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    runs = {"A": first, "B": second}
    done = ofa("report", *(runs.get(word, word) for word in words), "-o", tmp_path / "o")
    assert done.code == 0 and (tmp_path / "o" / "comparison.html").exists()
    if "--json" in words:
        assert [run["label"] for run in json.loads(done.out)["runs"]] == [NAME, "second"]
    else:
        assert "same budget" in done.out and "second" in done.out


def test_mistakes_are_told_and_write_nothing(first: Path, second: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two runs or more"):
        write_comparison([first], tmp_path / "o")
    with pytest.raises(UserError, match="named twice"):
        write_comparison([first, second, first / ".." / "first"], tmp_path / "o")
    with pytest.raises(UserError, match=r"second.*not a run folder|nowhere.*not a run folder"):
        write_comparison([first, tmp_path / "nowhere"], tmp_path / "o")
    with pytest.raises(UserError, match=r"neither a folder nor an \.html file"):
        write_comparison([first, second], tmp_path / "o.pdf")
    change_json(second / "reference.json", lambda reference: reference.update(schema=99))
    with pytest.raises(UserError, match=r"second.*reference\.json"):
        write_comparison([first, second], tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "told"), [(("A", "B"), "Compare runs with --compare"), (("A", "-o", "x"), "goes with --compare")]
)
def test_a_report_is_of_one_run(ofa: Any, first: Path, second: Path, words: tuple[str, ...], told: str) -> None:
    runs = {"A": first, "B": second}
    done = ofa("report", *(runs.get(word, word) for word in words))
    assert done.code == 2 and told in done.err
    assert not (first / "report.html").exists()
