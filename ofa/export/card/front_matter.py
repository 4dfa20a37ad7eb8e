"""What model hubs read at the top of a card (https://huggingface.co/docs/hub/model-cards)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from ofa.export.architecture_file import ArchitectureFile
from ofa.export.card.facts import CardFacts
from ofa.export.card.origin import title
from ofa.export.card.scores import form_score


def front_matter(report: Mapping[str, Any], described: ArchitectureFile, facts: CardFacts) -> str:
    """Licence `unknown` where nobody stated one; accuracies in 0..1 of every form, on the test split if it was read."""
    scores = {split: _accuracies(report, split) for split in ("test", "selection")}
    split = "test" if scores["test"] else "selection"
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": facts.data.name, "type": facts.data.name, "split": split},
        "metrics": scores[split],
    }
    content = {
        "license": (facts.licence or "unknown").lower(),
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "once-for-all", "neural-architecture-search", described.space.family]
        + [form for form in report["forms"] if form not in ("safetensors", "pt2")],
        "metrics": ["accuracy"],
        "model-index": [{"name": title(report, facts), "results": [result] if scores[split] else []}],
    }
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _accuracies(report: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    return [
        {"type": "accuracy", "name": f"accuracy ({form})", "value": round(score["accuracy"], 6)}
        for form in report["forms"]
        if (score := form_score(report, form, split)) is not None
    ]
