"""What the site writes by itself is all that there is, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from ofa.cli import build_app
from ofa.config import RunConfig
from search_spaces.registry import FAMILIES
from tests.docs.pages import DOCS, ROOT


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/hooks.py, which mkdocs loads by its path."""
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_and_option_is_on_the_page(hooks: ModuleType) -> None:
    """Told from the signatures; held against what the parser takes."""
    text = hooks.commands()
    sections = dict(zip(*[iter(re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:])] * 2, strict=True))
    found = dict(_leaves(typer.main.get_command(build_app()), "ofa"))
    assert set(sections) == set(found)
    for name, command in found.items():
        options = {word for parameter in command.params for word in parameter.opts if word.startswith("-")}
        assert set(re.findall(r"`(--?[a-z][\w-]*)`", sections[name].split("left out |")[1])) == options - {"--help"}, (
            name
        )
        assert "**required**" in sections[name] or not any(parameter.required for parameter in command.params), name


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, child in command.commands.items():
        yield from _leaves(child, f"{name} {word}")


def test_every_key_of_a_config_is_on_the_page(hooks: ModuleType) -> None:
    text = hooks.settings()
    for section, field in RunConfig.model_fields.items():
        assert f"| `{section}` |" in text
        for model in hooks._models(field.annotation):
            assert all(f"| `{key}` |" in text for key in model.model_fields), section
    assert "half the 95 % interval" in text, "the words below a field are told"
    spaces = hooks.spaces()
    assert all(f"### {name}\n" in spaces for name in FAMILIES) and "| `width_mult` |" in spaces


def test_types_are_told_in_the_words_of_a_config(hooks: ModuleType) -> None:
    told = {name: hooks._type(kind) for name, kind in {"a": int | None, "b": tuple[float, ...], "c": bool}.items()}
    assert told == {"a": "integer", "b": "list of number", "c": "true or false"}


def test_links_out_of_the_pages_become_names(hooks: ModuleType) -> None:
    class Page:
        class file:  # noqa: N801  (as mkdocs has it)
            src_uri = "guides/x.md"

    text = "[a](../science.md) and [the config](../../configs/quickstart.yaml)"
    assert hooks.on_page_markdown(text, page=Page) == (
        "[a](../science.md) and the config (`configs/quickstart.yaml` of the sources)"
    )


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the extra docs: pip install 'ofa-nas[docs]'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ofa verify-mcu" in (tmp_path / "site" / "reference" / "cli.html").read_text()
    for page in (tmp_path / "site").rglob("*.html"):
        tags = r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"'
        assert re.findall(tags, page.read_text()) == [], page.name
