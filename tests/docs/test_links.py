"""Every relative link and image of README.md and docs/ leads to a file that is there, and a heading that is there."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`[^`\n]*`")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in _links(page):
        if re.match(r"^[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def _links(page: Path) -> list[str]:
    text = _FENCED.sub("", page.read_text())
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    return _LINK.findall(_INLINE.sub(lambda found: "x" * len(found[0]), prose))


@cache
def _anchors(page: Path) -> frozenset[str]:
    """What the headings of a page are called, by the site and on GitHub alike; generated ones by their place."""
    found = set()
    for title in re.findall(r"^#+ +(.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title)
        found.add(re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    if "<!-- generated: settings -->" in page.read_text():
        found |= {"train", "data", "devices", "records", "predictor", "search", "export", "quantization"}
    return frozenset(found)


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b` c, d\n\n[here](#a-b-c-d) `[no](code.md)`\n\n    [no](code.md)\n\n![x](gone.svg)\n")
    assert _links(page) == ["#a-b-c-d", "gone.svg"] and "a-b-c-d" in _anchors(page)
