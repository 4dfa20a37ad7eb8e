"""`README.md` of an export folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ofa.export.architecture_file import ArchitectureFile
from ofa.export.card import costs, origin, preprocessing, scores
from ofa.export.card.facts import CardFacts
from ofa.export.card.front_matter import front_matter
from ofa.export.card.markdown import code, escape, fenced, section
from ofa.export.card.programs import program
from ofa.export.forms.base import Folder, Form
from ofa.export.forms.registry import get_form
from ofa.versions import installed_version
from search_spaces.common.files import write_text

FILE = "README.md"


def write_card(folder: Path, *, report: Mapping[str, Any], described: ArchitectureFile, facts: CardFacts) -> None:
    """Write the card of the export in `folder`, from its report (the content of report.json) and what else is known."""
    forms = [get_form(name) for name in report["forms"]]
    requires = tuple(dict.fromkeys(package for form in forms for package in form.requires))
    parts = [
        front_matter(report, described, facts),
        f"# {escape(origin.title(report, facts))}",
        origin.summary(report, described, facts),
        scores.files_section(report),
        costs.latency_section(report, facts),
        costs.memory_section(report),
        costs.boards_section(report),
        section(
            "Preprocessing",
            "What the network was trained and scored with; the programs below do the same, to rounding.",
            preprocessing.words(described.preprocessing, facts.data),
            preprocessing.notes(facts.data),
        ),
        _use(forms, described, facts),
        origin.data_section(facts),
        origin.licence_section(facts),
        origin.limits_section(report, facts),
        origin.reproduction_section(report, facts, requires=requires),
    ]
    write_text(folder / FILE, "\n\n".join(part for part in parts if part) + "\n")


def _use(forms: Iterable[Form], described: ArchitectureFile, facts: CardFacts) -> str:
    """A program for each form that has one."""
    parts = []
    for form in forms:
        if form.usage is None:
            parts.append(f"### {code(form.name)}\n\n{_instructions(form)}")
            continue
        install = f"pip install {' '.join(('numpy', 'pillow', *form.requires))}"
        open_ones = [name for name in form.requires if "==" not in name]
        tested = [f"{name} {version}" for name in open_ones if (version := installed_version(name)) is not None]
        comment = f"   # written and checked with {', '.join(tested)}" if tested else ""
        text = program(form.usage, described.preprocessing, facts.data)
        shell = fenced(f"{install}{comment}", "sh")
        parts.append(f"### {code(form.name)}\n\n{shell}\n\n{fenced(text, 'python')}")
    told = "Each is a whole program: save it in this folder as `classify.py`, then `python classify.py PICTURE` prints "
    told += "the class. `logits(image)` gives one number a class."
    return section("Use", told, *parts)


def _instructions(form: Form) -> str:
    """Of a form that no Python program runs."""
    if isinstance(form, Folder):
        return f"For its device alone: see [{form.file}/README.md]({form.file}/README.md)."
    return f"{code(form.file)} is for its device alone: no runtime in Python computes it."
