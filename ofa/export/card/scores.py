"""Section of a model card: the files and their accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofa import text
from ofa.export.card.markdown import bullets, code, escape, section, table
from ofa.export.card.remarks import remarks
from ofa.proportions import wilson

Report = Mapping[str, Any]

#: what bounds the accuracies of a card
CONFIDENCE = 0.95


def form_score(report: Report, form: str, split: str) -> Mapping[str, Any] | None:
    """{"accuracy", "num_images", ...} on a split, computed by the file of a form; None where it was not scored."""
    own = report["forms"][form].get("accuracy") or {}
    if split in own:
        return known(own[split])
    if split == "selection" and "form" in own:
        return known(own["form"])
    scored: Mapping[str, Any] = report["accuracy"].get(split) or {}
    of = scored.get("form", report["accuracy"]["selection"].get("form"))
    return known(scored) if of == form else None


def known(score: object) -> Mapping[str, Any] | None:
    """A score, if it is one."""
    return score if isinstance(score, Mapping) and "accuracy" in score else None


def accuracy_text(score: Mapping[str, Any] | None) -> str:
    """`96.90 % (95.6 to 97.8)`."""
    if score is None:
        return "not scored"
    if "num_images" not in score:
        return text.share(score["accuracy"])
    low, high = wilson(score["accuracy"], score["num_images"], CONFIDENCE)
    return f"{text.share(score['accuracy'])} ({100 * low:.1f} to {100 * high:.1f})"


def files_section(report: Report) -> str:
    rows = [_file_row(report, name, form) for name, form in report["forms"].items()]
    head = ["form", "file", "size", "test accuracy", "selection accuracy", "largest difference of a logit"]
    sizes = [f"{score['num_images']:,} {split}" for split in ("test", "selection") if (score := _any(report, split))]
    images = f"On {' and '.join(sizes)} images, by the exported file itself. " if sizes else ""
    told = (
        f"{images}In brackets the {100 * CONFIDENCE:g} % interval of a proportion (Wilson). Differences are from the "
        f"network in torch, on {_num_compared(report)} real images."
    )
    return section(
        "Files and accuracy",
        table(head, rows, left=2),
        told,
        remarks(report["forms"]),
        _untested(report),
        _failed(report),
    )


def _any(report: Report, split: str) -> Mapping[str, Any] | None:
    scores = (form_score(report, name, split) for name in report["forms"])
    return next((score for score in scores if score is not None and "num_images" in score), None)


def _num_compared(report: Report) -> str:
    return " or ".join(str(num) for num in sorted({form["num_images"] for form in report["forms"].values()}))


def _file_row(report: Report, name: str, form: Mapping[str, Any]) -> list[str]:
    scores = [accuracy_text(form_score(report, name, split)) for split in ("test", "selection")]
    ties = f" ({form['num_ties']} images aside)" if form.get("num_ties") else ""
    return [code(name), code(form["file"]), text.size(form["bytes"]), *scores, f"{form['max_abs']:.1e}{ties}"]


def _untested(report: Report) -> str | None:
    if _any(report, "test") is not None:
        return None
    return (
        "The test split was not read: it is for the winners of a finished search, once each. Selection accuracy is "
        "what networks were chosen by, so it is optimistic."
    )


def _failed(report: Report) -> str | None:
    failed = report.get("failed") or {}
    if not failed:
        return None
    lines = [f"{code(name)}: {escape(reason['message'])}" for name, reason in failed.items()]
    return f"**Not here**, because it could not be made:\n\n{bullets(lines)}"
