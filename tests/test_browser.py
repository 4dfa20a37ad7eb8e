"""The equipment for browser tests sees what it is there for: requests to the outside, and errors."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.browser import REQUIRED, Visits
from tests.browser import chromium as chromium
from tests.browser import visits as visits


def write(folder: Path, body: str) -> Path:
    path = folder / "page.html"
    path.write_text(f"<!DOCTYPE html><title>page</title><body>{body}</body>")
    return path


def test_a_page_that_needs_nothing_passes(visits: Visits, tmp_path):
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    page = visits.open(write(tmp_path, f"<p id=p>-</p><img src='{pixel}'><script>p.textContent = 1 + 1</script>"))
    assert page.inner_text("#p") == "2"
    visits.check()


def test_javascript_can_be_off(visits: Visits, tmp_path):
    page = visits.open(write(tmp_path, "<p id=p>-</p><script>p.textContent = 1 + 1</script>"), javascript=False)
    assert page.inner_text("#p") == "-"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<img src='http://127.0.0.1:9/x.png'>", "outside"),
        ("<script>fetch('https://example.org/x').catch(() => 0)</script>", "outside"),
        ("<script>throw new Error('oh')</script>", "errors"),
        ("<script>console.error('oh')</script>", "errors"),
        ('<meta http-equiv="Content-Security-Policy" content="script-src \'none\'"><script>1</script>', "errors"),
    ],
)
def test_what_a_page_may_not_do_is_seen(visits: Visits, tmp_path, body, said):
    page = visits.open(write(tmp_path, body))
    end = time.monotonic() + 10.0
    while not (visits.refused or visits.errors) and time.monotonic() < end:
        page.wait_for_timeout(30)  # a page's requests and errors are told when the browser finds time
    with pytest.raises(AssertionError, match=said):
        visits.check()
    visits.errors.clear()
    visits.refused.clear()


@pytest.mark.parametrize(("value", "outcome"), [("1", "failed"), ("0", "skipped"), (None, "skipped")])
def test_without_a_browser_tests_are_skipped_or_fail(monkeypatch, value, outcome):
    import tests.browser as equipment

    monkeypatch.setattr(equipment.shutil, "which", lambda name: None)
    monkeypatch.delenv(REQUIRED, raising=False)
    if value is not None:
        monkeypatch.setenv(REQUIRED, value)
    expected = pytest.fail.Exception if outcome == "failed" else pytest.skip.Exception
    with pytest.raises(expected, match="apt-get install --no-install-recommends chromium"):
        next(equipment.chromium.__wrapped__())
