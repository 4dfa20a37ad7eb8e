"""Pages opened in a real browser: Debian's Chromium, headless and offline, driven by Playwright.

A conftest that wants pages imports the two fixtures:

    from tests.browser import chromium, visits  # noqa: F401

and a test opens a page with `page = visits.open(path)`; from then on it is Playwright's (`page.hover`, `page.locator`).
Nothing but `file:` and `data:` is ever loaded. A test fails at its end if a page asked for anything else, wrote an
error to its console or threw one, or was refused something by its own security policy (the console says so).

Without Chromium or Playwright these tests are skipped; where `OFA_REQUIRE_BROWSER=1` they fail.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route

REQUIRED = "OFA_REQUIRE_BROWSER"

#: every name that distributions give it
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

_LOCAL = ("file:", "data:", "blob:", "about:")


@dataclass
class Visits:
    """Pages that a test opens, each in a context of its own, and what they did that no page of ours may do."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def open(
        self, path: Path, *, width: int = 1280, height: int = 900, javascript: bool = True, touch: bool = False
    ) -> Page:
        """Open a file as a double click would, and wait until it is loaded. Width and height in CSS pixels."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, offline=True, java_script_enabled=javascript, has_touch=touch
        )
        self.contexts.append(context)
        context.set_default_timeout(10_000)
        context.route("**/*", self._route)
        page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(f"thrown: {error}"))
        page.goto(Path(path).absolute().as_uri())
        return page

    def check(self) -> None:
        """Raise `AssertionError` where a page asked for what is not in it, or was in error."""
        assert self.refused == [], "a page asked for something from outside"
        assert self.errors == [], "a page wrote errors to its console"

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _route(self, route: Route) -> None:
        if route.request.url.startswith(_LOCAL):
            route.continue_()
        else:
            self.refused.append(route.request.url)
            route.abort()

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


def until(page: Page, expression: str, *, seconds: float = 10.0) -> None:
    """Wait until `expression` is true on the page. (`page.wait_for_function` evaluates text there, which the security
    policy of our pages forbids.)
    """
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"never true: {expression}"
        page.wait_for_timeout(30)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Started once per file: Playwright's event loop stays in this thread as long as it runs."""
    program = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if program is None:
        _without("Chromium is not installed: apt-get install --no-install-recommends chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _without("Playwright is not installed: pip install playwright")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if as_root else [])
        yield browser
        browser.close()


@pytest.fixture
def visits(chromium: Browser) -> Iterator[Visits]:
    """Pages of one test. Its errors are checked at the end, also where the test itself passed."""
    made = Visits(chromium)
    yield made
    made.close()
    made.check()


def _without(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED, "0") not in ("", "0"):
        pytest.fail(f"{reason} ({REQUIRED} is set)", pytrace=False)
    pytest.skip(reason)
