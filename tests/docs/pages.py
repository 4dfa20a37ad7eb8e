"""What stands in the documentation: blocks, the commands in them, what is marked as not run, links and headings.

A block is fenced, or indented by four spaces. Comments in the Markdown right above a block are about it:

    <!-- not run: REASON -->             none of its commands is run; REASONS are below, details after a second colon
    <!-- exit code 3 -->                 its commands end so
    <!-- fragment -->                    a YAML block that is a part of a config

A fenced block with `title="FILE"` is a file that the page has its reader write.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: why a command of the documentation is not run by a test
REASONS = ("hardware", "network", "hours", "another machine")

#: what a line of a block begins with if it is a command
PROGRAMS = (
    *("ofa", "torchrun", "python", "python3", "make", "pip", "git", "sbatch", "srun", "docker", "ssh", "scp"),
    *("optuna-dashboard", "tensorboard", "openocd", "st-flash", "apt", "apt-get", "pkg", "adb", "cd"),
    *("mkdocs", "pytest", "taskset", "gdb", "litert-benchmark"),
)
_COMMAND = re.compile(rf"^(?:[A-Z_]+=\S+ )*(?:\S*/)?(?:{'|'.join(map(re.escape, PROGRAMS))})(?= |$)")
_FENCE = re.compile(r"^(`{3,}|~{3,})\s*(\w*)\s*(.*)$")
_COMMENT = re.compile(r"^<!--\s*(.*?)\s*-->$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """Some lines of a page that are not prose; `line` is the number of the first, from 1."""

    page: Path
    line: int
    language: str
    title: str | None
    notes: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def not_run(self) -> str | None:
        """The reason, if its commands are not run."""
        return next((note.removeprefix("not run:").strip() for note in self.notes if note.startswith("not run:")), None)

    @property
    def exit_code(self) -> int:
        codes = [int(note.removeprefix("exit code")) for note in self.notes if note.startswith("exit code")]
        return codes[0] if codes else 0

    @property
    def shell(self) -> bool:
        return self.language in ("", "bash", "sh", "console", "shell") and self.title is None


@dataclass(frozen=True)
class Command:
    """A command line of a page, whole, without the comment behind it."""

    block: Block
    line: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.block.page.relative_to(ROOT)}:{self.line}"

    @property
    def calls(self) -> list[list[str]]:
        """The words of each program that the line starts."""
        words = shlex.shlex(self.text, posix=True, punctuation_chars="&;|")
        words.whitespace_split, words.commenters = True, ""
        calls: list[list[str]] = [[]]
        for word in words:
            if set(word) <= set("&;|"):
                calls.append([])
            else:
                calls[-1].append(word)
        return [call for call in calls if call]


def pages() -> list[Path]:
    """README.md and every page of docs/, but none of the pages that plug-ins bring for themselves."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    lines = page.read_text().splitlines()
    notes: list[str] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        fence, comment = _FENCE.match(line.strip()), _COMMENT.match(line.strip())
        if fence:
            indent = len(line) - len(line.lstrip())
            end = number + 1
            while end < len(lines) and not lines[end].strip().startswith(fence[1]):
                end += 1
            title = _TITLE.search(fence[3])
            inside = tuple(text[indent:] for text in lines[number + 1 : end])
            yield Block(page, number + 2, fence[2], title[1] if title else None, tuple(notes), inside)
            number, notes = end + 1, []
        elif line.startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            inside = tuple(text[4:] for text in lines[number:end])
            while inside and not inside[-1]:
                inside = inside[:-1]
            yield Block(page, number + 1, "", None, tuple(notes), inside)
            number, notes = end, []
        else:
            if comment:
                notes.append(comment[1])
            elif line.strip():
                notes = []
            number += 1


def commands(block: Block) -> Iterator[Command]:
    """The command lines of a block: those that begin with a known program; what is printed stands between them."""
    if not block.shell:
        return
    number = 0
    while number < len(block.lines):
        start, line = number, block.lines[number].removeprefix("$ ")
        while line.endswith("\\") and number + 1 < len(block.lines):
            number += 1
            line = line[:-1] + block.lines[number].strip()
        number += 1
        if _COMMAND.match(line):
            yield Command(block, block.line + start, re.sub(r"\s+#\s.*$", "", line).strip())
