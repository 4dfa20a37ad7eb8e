"""The page as people use it: pointing, sliding, typing, choosing; on a phone, in print, in the dark, without script."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ofa.report.page_data import page_data
from ofa.report.report import write_report
from ofa.report.sources import read_sources
from search_spaces.common.files import append_line
from tests.browser import Visits
from tests.ofa.report.invented import Run, write_run
from tests.ofa.report.picking import brute_force, totals

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: names that Plotly and HTML would take for markup
DEVICE = "<b>phone</b> &lt;i"
ROLE = "<b>role</b> %{x} <script>alert(1)</script>"
SECTIONS = [
    "Winners",
    "Accuracy against cost",
    "What if the budget were another?",
    "A network, layer by layer",
    "Can the latency tables be trusted?",
    "Can the accuracy predictor be trusted?",
    "What the search tried",
    "Training the supernet",
    "Data",
    "The same again",
    "All records",
]


def written(run: Run) -> tuple[Path, dict[str, Any]]:
    write_report(run.folder)
    return run.folder / "report.html", page_data(read_sources(run.folder))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run = write_run(tmp_path_factory.mktemp("browser") / "run", other_device=DEVICE.replace("/", "∕"))
    append_line(run.folder / "training.jsonl", {"kind": "step", "step": 320, "phase": "all", "loss": {ROLE: 1.0}})
    return written(run)


@pytest.fixture(scope="module")
def opened(chromium: Browser, report: tuple[Path, dict[str, Any]]) -> Iterator[tuple[Page, Visits]]:
    """One page that most tests share: each leaves it working."""
    shared = Visits(chromium)
    yield ready(shared.open(report[0])), shared
    shared.close()
    shared.check()


def ready(page: Page) -> Page:
    page.wait_for_selector("html[data-ready=complete]", state="attached", timeout=60_000)
    return page


def picked(page: Page) -> str:
    """The key of what the sliders pick; empty where nothing keeps the limits."""
    found = page.locator("#picked .key")
    return found.inner_text() if found.count() else ""


def expected(data: dict[str, Any], limits: dict[str, float], basis: str = "predicted") -> str:
    wanted = [limits.get(cost["name"]) for cost in data["costs"]]
    number = brute_force(data, wanted, basis, totals(data))
    return data["networks"]["keys"][number] if number >= 0 else ""


def no_limits(page: Page) -> None:
    page.get_by_role("button", name="no limits").click()


def test_pointing_at_a_dot_says_what_it_is(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, data = opened[0], report[1]
    page.locator("#front-0").scroll_into_view_if_needed()
    networks = data["networks"]
    lowest = min(range(40), key=lambda number: networks["measured"]["mean"][number])  # alone at the bottom
    page.locator("#front-0 .trace.scatter path.point").nth(lowest).hover(force=True)
    shown = page.locator("#front-0 .hoverlayer .hovertext").first
    shown.wait_for()
    words = shown.text_content() or ""
    assert networks["keys"][lowest] in words and f"{100 * networks['measured']['mean'][lowest]:.2f} %" in words
    assert "predicted" in words and "kernel" in words and "latency on here" in words
    assert re.search(r"\([\d.]+ to [\d.]+ %\)", words) and re.search(r"\([\d.]+ ms to [\d.]+ ms\)", words)


def test_a_dot_that_is_clicked_shows_its_layers(
    opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]
) -> None:
    page, networks = opened[0], report[1]["networks"]
    lowest = min(range(40), key=lambda number: networks["measured"]["mean"][number])
    page.locator("#front-0 .trace.scatter path.point").nth(lowest).click(force=True)
    page.locator(f"#layers .chosen:has-text('{networks['keys'][lowest]}')").wait_for()
    slots = [slot for slot, number in zip(report[1]["slots"], networks["slots"][lowest], strict=True) if number >= 0]
    shown = page.locator("#layer-diagram .xtick text").all_text_contents()
    assert shown == [*slots, "overhead"]
    assert page.locator("#layers input[name=key]").input_value() == networks["keys"][lowest]
    page.locator("#layers summary").click()
    assert page.locator("#layers .table tbody tr td:first-child").all_inner_texts() == [*slots, "overhead"]
    page.locator("#layers summary").click()
    assert page.locator("article.network:visible").count() == 0  # it is no winner


def test_choosing_a_winner_shows_its_files(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, data = opened[0], report[1]
    for number, winner in enumerate(data["winners"]):
        page.locator(f"button[data-winner='{number}']").click()
        key = data["networks"]["keys"][winner["network"]]
        page.locator(f"#layers .chosen:has-text('{key}')").wait_for()
        assert page.locator(f"button[data-winner='{number}']").get_attribute("aria-pressed") == "true"
        assert f"specialized/{winner['name']}/model.onnx" in page.locator("article.network:visible").inner_text()


def test_any_network_can_be_typed(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, networks = opened[0], report[1]["networks"]
    field = page.locator("#layers input[name=key]")
    field.fill("no such network")
    assert field.get_attribute("aria-invalid") == "true"
    field.fill(networks["keys"][7])
    page.locator(f"#layers .chosen:has-text('{networks['keys'][7]}')").wait_for()
    assert field.get_attribute("aria-invalid") == "false"


def test_sliding_picks_as_brute_force_does(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, data = opened[0], report[1]
    no_limits(page)
    assert picked(page) == expected(data, {})
    slider = page.locator("input[type=range][data-cost='latency@here']")
    slider.focus()
    seen = set()
    for press in ("PageDown", "ArrowLeft") * 9:
        page.keyboard.press(press)
        typed = page.locator("input[type=number][data-cost='latency@here']").input_value()
        key = picked(page)
        assert key == expected(data, {"latency@here": float(typed)})
        seen.add(key)
    assert len(seen) > 3
    page.keyboard.press("Home")
    assert picked(page) == "" and "No network here keeps" in page.locator("#picked").inner_text()
    assert "No network of the space does" in page.locator("#picked").inner_text()
    page.keyboard.press("End")
    assert picked(page) == expected(data, {}) and slider.get_attribute("aria-valuetext") == "no limit"


def test_typed_limits_and_the_command(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, data = opened[0], report[1]
    no_limits(page)
    macs = page.locator("input[type=number][data-cost='macs']")
    macs.fill("0.5")
    page.locator("input[type=number][data-cost='flash']").fill("200")
    assert picked(page) == expected(data, {"macs": 0.5e6, "flash": 200 * 1024})
    command = page.locator("#picked .command").inner_text()
    assert command.startswith("ofa search ") and "--max macs=500kMACs" in command and "--max flash=200KiB" in command
    page.locator("#basis").select_option("measured")
    assert picked(page) == expected(data, {"macs": 0.5e6, "flash": 200 * 1024}, "measured")
    page.locator("#basis").select_option("predicted")
    macs.fill("")
    assert picked(page) == expected(data, {"flash": 200 * 1024})
    for winner in data["winners"]:
        page.get_by_role("button", name=f"as budget {winner['name']}").click()
        assert picked(page) == expected(data, winner["limits"])


def test_tabs_change_the_cost(opened: tuple[Page, Visits], report: tuple[Path, dict[str, Any]]) -> None:
    page, data = opened[0], report[1]
    first, second = page.get_by_role("tab").nth(0), page.get_by_role("tab").nth(1)
    assert first.get_attribute("aria-selected") == "true" and page.locator("#front-1").is_hidden()
    first.focus()
    page.keyboard.press("ArrowRight")
    assert second.get_attribute("aria-selected") == "true" and page.locator("#front-0").is_hidden()
    # a device's name is a text, whatever it looks like
    device = data["costs"][1]["device"]
    assert second.inner_text() == f"latency on {device}"
    assert page.locator("#front-1 .g-xtitle").text_content() == f"latency on {device} (ms)"
    assert page.locator("#front-1 .trace.scatter path.point").count() >= 40
    first.click()


def test_names_are_texts_in_charts_too(opened: tuple[Page, Visits]) -> None:
    page = opened[0]
    assert ROLE in page.locator("#curves-loss .legendtext").all_text_contents()
    assert page.locator("svg b, svg img, svg script").count() == 0
    assert page.locator(".plot .main-svg").count() > 8 and page.locator("p.instead:visible").count() == 0


def test_a_phone_and_the_dark(visits: Visits, report: tuple[Path, dict[str, Any]]) -> None:
    page = ready(visits.open(report[0], width=360, height=740, touch=True))
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ink = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--soft').trim()")
    colour = page.locator("#front-0 .xtick text").first.evaluate("tick => getComputedStyle(tick).fill")
    assert colour == f"rgb({', '.join(str(int(ink[start : start + 2], 16)) for start in (1, 3, 5))})"


@pytest.mark.slow
def test_paper_has_everything_but_what_slides(
    visits: Visits, report: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    page = ready(visits.open(report[0], width=680))
    pdf = page.pdf(path=tmp_path / "report.pdf", format="A4", outline=True, tagged=True)
    titles = re.findall(rb"/Title \((.*?)(?<!\\)\)", pdf)
    for section in SECTIONS:
        assert (section.encode() in titles) == (section != "What if the budget were another?")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    for number in (0, 1):  # every device has its chart
        assert page.locator(f"#front-{number} .main-svg").first.is_visible()
    assert page.locator("article.network:visible").count() == 2
    wide = "[...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > 681).length"
    assert page.evaluate(wide) == 0


def test_without_javascript_it_still_says_everything(visits: Visits, report: tuple[Path, dict[str, Any]]) -> None:
    page, data = visits.open(report[0], javascript=False), report[1]
    shown = page.locator("main").inner_text()
    for section in SECTIONS:
        assert (section in shown) == (section != "What if the budget were another?")
    assert "The tables of winners and of all records hold the numbers" in shown
    page.locator("#records summary").click()
    for key in data["networks"]["keys"][:40]:
        assert key in page.locator("main").inner_text()
    for winner in data["winners"]:
        assert f"{winner['name']}: {data['networks']['keys'][winner['network']]}" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    "gone", [["predictor"], ["search.json"], ["records.jsonl", "predictor"], ["supernet.json", "search.json"]]
)
def test_an_unfinished_run_has_a_page_that_works(visits: Visits, run: Run, gone: list[str]) -> None:
    for name in gone:
        path = run.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_report(run.folder)
    page = ready(visits.open(run.folder / "report.html"))
    assert page.locator("#budgets").is_visible() == ("supernet.json" not in gone)
    if "supernet.json" not in gone:
        no_limits(page)
        assert picked(page) and page.locator("#front-0 .trace.scatter path.point").count() > 0
        assert page.locator("#layer-diagram .trace.bars path").count() > 0


@pytest.mark.slow
def test_two_thousand_records(visits: Visits, tmp_path: Path) -> None:
    path, data = written(write_run(tmp_path / "run", num_records=2000, other_device="there"))
    assert len(data["networks"]["keys"]) >= 2000
    page = ready(visits.open(path))
    assert page.locator("#front-0 .trace.scatter path.point").count() >= 2000
    marks = json.loads(page.evaluate("JSON.stringify(performance.getEntriesByType('mark'))"))
    assert [mark["name"] for mark in marks] == ["interactive", "complete"]
    no_limits(page)
    slider = page.locator("input[type=range][data-cost='macs']")
    slider.focus()
    for _ in range(30):
        page.keyboard.press("PageDown")
    typed = float(page.locator("input[type=number][data-cost='macs']").input_value())
    unit = 1e6 if data["costs"][2]["space"][1] > 1e6 else 1e3
    assert picked(page) == expected(data, {"macs": typed * unit})
