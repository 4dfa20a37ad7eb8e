"""How soon a report page with 2,000 records answers, and its pictures for docs/report.md.

python -m benchmarks.report_page                                        a run with invented numbers, five loads
python -m benchmarks.report_page runs/quickstart                        the page of a run of one's own
python -m benchmarks.report_page runs/quickstart --screenshots docs/images

Wants Chromium and Playwright. Wall time is that of the machine as it is; the CPU time of the page's thread says more
where others are busy, too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ofa.report.report import HTML, write_report
from tests.ofa.report.invented import write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUM_RECORDS, NUM_LOADS = 2000, 5
_MARKS = "performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime])"


def main() -> None:
    parser = argparse.ArgumentParser(description="Loads of the report page, or pictures of it.")
    parser.add_argument("run", type=Path, nargs="?", help="a run; left out: one with invented numbers")
    parser.add_argument("--screenshots", type=Path, metavar="FOLDER", help="write report_*.png there instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _chromium() as browser:
        run = options.run
        if run is None:
            run = write_run(Path(folder) / "run", num_records=NUM_RECORDS, other_device="there").folder
        started = time.perf_counter()
        write_report(run)
        print(f"ofa report: {time.perf_counter() - started:.2f} s, {(run / HTML).stat().st_size / 2**20:.2f} MiB")
        if options.screenshots is not None:
            take_screenshots(browser, run / HTML, options.screenshots)
        else:
            time_loads(browser, run / HTML)


def time_loads(browser: Browser, page: Path) -> None:
    """Medians of several loads, each in a fresh context: nothing is cached."""
    marks: dict[str, list[float]] = {}
    for _ in range(NUM_LOADS):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
        opened = context.new_page()
        session = context.new_cdp_session(opened)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        opened.goto(page.absolute().as_uri(), wait_until="load")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        marks.setdefault("loaded, CPU time of its thread", []).append(1000 * metrics["ThreadTime"])
        opened.wait_for_selector("html[data-ready=complete]", state="attached", timeout=120_000)
        for name, start in opened.evaluate(_MARKS):
            marks.setdefault(f"{name}, wall time", []).append(start)
        context.close()
    for name, values in marks.items():
        spread = ", ".join(f"{value:.0f}" for value in sorted(values))
        print(f"{name}: {statistics.median(values):.0f} ms (median of {spread})")


def take_screenshots(browser: Browser, page: Path, folder: Path) -> None:
    """The front with its sliders, a network's layers, and how both begin on a phone."""
    wide = _open(browser, page, width=1120)
    wide.get_by_role("button", name="as budget").last.click()
    typed = wide.locator("#budgets input[type=number][data-cost=macs]")
    typed.fill("0.2")
    typed.blur()
    wide.wait_for_timeout(1000)  # layers follow when the hand rests
    _save(wide, ("#tradeoff", "#budgets"), folder / "report_front.png")
    _save(wide, ("#networks > h2", "#layers"), folder / "report_layers.png")
    _save(wide, ("#tables",), folder / "report_trust.png", height=620)
    _save(_open(browser, page, width=360), ("#tradeoff", "#budgets"), folder / "report_phone.png", height=1240)


def _open(browser: Browser, page: Path, *, width: int) -> Page:
    opened = browser.new_context(viewport={"width": width, "height": 900}, offline=True).new_page()
    opened.goto(page.absolute().as_uri())
    opened.wait_for_selector("html[data-ready=complete]", state="attached", timeout=120_000)
    opened.wait_for_timeout(500)
    return opened


def _save(page: Page, sections: tuple[str, ...], path: Path, *, height: int | None = None) -> None:
    """From the first to the last of some sections."""
    boxes = [page.locator(section).bounding_box() for section in sections]
    found = [box for box in boxes if box is not None]
    top, bottom = min(box["y"] for box in found), max(box["y"] + box["height"] for box in found)
    top += page.evaluate("window.scrollY")
    bottom += page.evaluate("window.scrollY")
    viewport = page.viewport_size
    assert viewport is not None
    tall = min(bottom - top, height or bottom - top)
    clip = {"x": 0.0, "y": top, "width": float(viewport["width"]), "height": tall}
    page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]
    # 256 colours, chosen so that small marks keep theirs: a third of the bytes
    Image.open(path).convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} KB")


@contextmanager
def _chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
