"""Every command in README.md and docs/ is run by a walk (`test_walks.py`), or says why not; none has a wrong option."""

from __future__ import annotations

import configparser
import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from ofa.cli import build_app
from ofa.config import parse_run_config
from search_spaces.common.settings import load_yaml
from tests.docs.pages import DOCS, REASONS, ROOT, Block, Command, blocks, commands, pages
from tests.docs.walks import RUN_ELSEWHERE, WALKS

COMMANDS = [command for page in pages() for block in blocks(page) for command in commands(block)]
BLOCKS = [block for page in pages() for block in blocks(page)]


def complaints(check: Any, items: list[Any]) -> list[str]:
    """What `check` says of each item, with its place."""
    return [f"{item.where}: {said}" for item in items for said in [check(item)] if said]


def test_documentation_is_found() -> None:
    assert {page.name for page in pages()} >= {"README.md", "index.md", "my_data.md", "science.md"}
    assert len(COMMANDS) > 100 and sum(command.text.startswith("ofa ") for command in COMMANDS) > 60


# -- run, or a reason --------------------------------------------------------------------------------------------------


def test_every_command_is_run_or_says_why_not() -> None:
    assert complaints(_not_covered, COMMANDS) == []


def _not_covered(command: Command) -> str | None:
    reason = command.block.not_run
    if reason is not None:
        known = any(re.match(rf"{name}(:|$)", reason) for name in REASONS)
        return None if known else f"{reason!r} is no reason; those are {', '.join(REASONS)}"
    page = command.block.page.relative_to(ROOT).as_posix()
    if page in WALKS or page in RUN_ELSEWHERE or all(call[0] == "ofa" for call in command.calls):
        return None  # the walk runs it; or the parser takes it, below
    return f"no test runs `{command.text}`: mark its block <!-- not run: REASON -->, or put the page into WALKS"


# -- options -----------------------------------------------------------------------------------------------------------


def test_every_ofa_command_is_accepted_by_the_parser() -> None:
    assert complaints(_refused, COMMANDS) == []


def _refused(command: Command) -> str | None:
    for call in command.calls:
        words = _ofa_words(call)
        if words is None:
            continue
        told = io.StringIO()
        try:
            with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
                _parse(words)
        except Exception as error:
            return f"`{command.text}`: {getattr(error, 'message', None) or error}"
        except SystemExit as ended:
            if ended.code:
                return f"`{command.text}`: {told.getvalue()}"
    return None


def _ofa_words(call: list[str]) -> list[str] | None:
    """The words behind `ofa`, also where torchrun or Python starts it."""
    if call[0] == "ofa":
        return call[1:]
    for number, word in enumerate(call[:-1]):
        if word == "-m" and call[number + 1] == "ofa":
            return call[number + 2 :]
        if word == "--" and call[number + 1] == "ofa":
            return call[number + 2 :]
    return None


@cache
def _app() -> Any:
    return typer.main.get_command(build_app())


def _parse(words: list[str]) -> None:
    """As the command line would, without doing anything."""
    command, name = _app(), "ofa"
    while hasattr(command, "commands"):
        assert words, f"{name} of what?"
        name = words[0]
        assert name in command.commands, f"no command {name!r}"
        command, words = command.commands[name], words[1:]
    command.make_context(name, list(words))


def test_the_parser_of_this_test_refuses_what_does_not_exist() -> None:
    for words in (
        ["rnu", "a.yaml"],
        ["run", "a.yaml", "--epoch", "2"],
        ["export", "RUN"],
        ["measure", "--rounds", "x"],
    ):
        with pytest.raises(BaseException):  # noqa: B017  (typer's own, which has been another one from version to version)
            _parse(words)


def test_options_in_the_text_exist() -> None:
    """`ofa run --set` and its like inside sentences: the command exists, and so has every `--option` behind it."""
    wrong = []
    for page in pages():
        for found in re.finditer(r"(?<!`)`ofa ([a-z][^`\n]*)`(?!`)", page.read_text()):
            words = found[1].split()
            command = _app()
            while words and hasattr(command, "commands") and words[0].split("|")[0] in command.commands:
                command, words = command.commands[words[0].split("|")[0]], words[1:]
            known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            if (hasattr(command, "commands") and words and words[0].islower()) or options - known:
                wrong.append(f"{page.relative_to(ROOT)}: {found[0]}")
    assert wrong == []


# -- other programs ----------------------------------------------------------------------------------------------------


def test_modules_targets_and_extras_exist() -> None:
    assert complaints(_missing, COMMANDS) == []


def _missing(command: Command) -> str | None:
    for call in command.calls:
        if "-m" in call[:-1] and call[0] in ("python", "python3", "torchrun"):
            module = ROOT / call[call.index("-m") + 1].replace(".", "/")
            ours = module.parts[len(ROOT.parts)] in ("ofa", "trainers", "benchmarks")
            if ours and not (module.with_suffix(".py").exists() or (module / "__main__.py").exists()):
                return f"`{command.text}`: no such module"
        if call[0] == "make" and "-C" not in call:
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            wanted = [word for word in call[1:] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
            known = set(targets) | BUNDLE_TARGETS
            if set(wanted) - known:
                return f"`{command.text}`: no such target of the Makefile"
        if call[0] == "pip":
            for extra in re.findall(r"(?:ofa-nas|\.)\[([a-z,]+)\]", command.text):
                if unknown := set(extra.split(",")) - _extras():
                    return f"`{command.text}`: no extra {', '.join(sorted(unknown))}"
    return None


#: of the Makefile in a microcontroller bundle
BUNDLE_TARGETS = {"check", "sanitize", "firmware", "semihosting", "host"}


def _extras() -> set[str]:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return set(parser["options.extras_require"])


# -- configs -----------------------------------------------------------------------------------------------------------

#: those of plug-ins are run by the tests of the example package: here it is not installed
CONFIGS = [block for block in BLOCKS if block.language == "yaml" and not block.where.startswith("docs/plugins/")]


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: block.where)
def test_configs_of_the_documentation_are_right(block: Block, tmp_path: Path) -> None:
    """Whole ones (with a name) as a run would check them; of parts, every section that is there."""
    path = tmp_path / "config.yaml"
    path.write_text(block.text)
    data = load_yaml(path)
    assert isinstance(data, dict)
    whole = {"name": "part", "space": {"name": "mobilenet_v3_64"}, "data": {"name": "mnist_5k"}}
    needed = {"train": {"epochs": 1, "batch_size": 64}, "search": {"budgets": {"any": {"macs": "50%"}}}}
    parse_run_config(data if "name" in data else _over({**whole, **needed}, data), file=path)


def _over(data: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in part.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def test_the_site_names_every_page() -> None:
    """The navigation of mkdocs.yml and the files of docs/ are the same."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed: list[str] = []

    def collect(part: Any) -> None:
        for item in part if isinstance(part, list) else part.values():
            if isinstance(item, str):
                listed.append(item)
            else:
                collect(item)

    collect(navigation)
    files = {page.relative_to(DOCS).as_posix() for page in pages() if DOCS in page.parents}
    assert set(listed) - files == set(), "no such page"
    written_elsewhere = {page for page in files if page.startswith("plugins/") and page.count("/") > 1}
    assert files - set(listed) - written_elsewhere == set(), "not in the navigation of mkdocs.yml"
    assert len(listed) == len(set(listed))
