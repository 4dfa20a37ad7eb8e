"""The ledger of the test split: who read it, when, and the one score each network got.

A JSON lines file in the run folder. A network is scored once; asking again returns the stored score. A reading that was
interrupted before its score was entered may be repeated, and is seen in the ledger as a second `opened` line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.common.errors import UserError
from search_spaces.common.files import append_line, read_lines

if TYPE_CHECKING:
    import torch

    from trainers.data.image_data import ImageData

WHAT = "test ledger"


def stored_score(ledger: Path, *, key: str, split_sha256: str) -> dict[str, float] | None:
    """The score of network `key` on this test split, or None if it has none yet."""
    for line in _lines(ledger):
        if line["event"] == "scored" and line["key"] == key and line["split_sha256"] == split_sha256:
            return {name: float(value) for name, value in line["score"].items()}
    return None


def is_scored(ledger: Path, *, key: str, split_sha256: str) -> bool:
    """Whether network `key` has a score on this test split, by itself or in any form (`key/FORM`)."""
    return any(
        line["event"] == "scored"
        and line["split_sha256"] == split_sha256
        and (line["key"] == key or line["key"].startswith(f"{key}/"))
        for line in _lines(ledger)
    )


def enter_opening(ledger: Path, *, key: str, split_sha256: str) -> None:
    """Enter that network `key` is about to be scored. Raises `UserError` if it has a score."""
    if stored_score(ledger, key=key, split_sha256=split_sha256) is not None:
        hint = "A network is scored on the test split once; read its score from the ledger"
        raise UserError(f"network {key!r} was scored before", file=ledger, key="key", hint=hint)
    append_line(ledger, {"event": "opened", "key": key, "split_sha256": split_sha256, "time": time.time()})


def enter_score(ledger: Path, *, key: str, split_sha256: str, score: dict[str, float]) -> None:
    """Enter the score of network `key`, which must have been opened and not have one yet."""
    lines = [line for line in _lines(ledger) if line["key"] == key and line["split_sha256"] == split_sha256]
    assert lines, "a score without a reading"
    assert all(line["event"] != "scored" for line in lines), "a second score"
    assert score and all(math.isfinite(value) for value in score.values()), f"not a score: {score}"
    line = {"event": "scored", "key": key, "split_sha256": split_sha256, "time": time.time(), "score": score}
    append_line(ledger, line)


def score_once(
    data: ImageData,
    *,
    key: str,
    ledger: Path,
    resolution: int,
    batch_size: int,
    device: torch.device | str = "cpu",
    score: Callable[[Iterator[tuple[torch.Tensor, torch.Tensor]]], dict[str, float]],
) -> dict[str, float]:
    """The test score of network `key`: from the ledger, or by `score(batches)` and then entered.

    `key` names weights as well as the architecture, so that a fine-tuned network is another network.
    """
    split_sha256 = data.split_sha256["test"]
    stored = stored_score(ledger, key=key, split_sha256=split_sha256)
    if stored is not None:
        return stored
    batches = data.final_test(resolution=resolution, batch_size=batch_size, device=device, ledger=ledger, key=key)
    result = score(batches)
    enter_score(ledger, key=key, split_sha256=split_sha256, score=result)
    return result


def _lines(ledger: Path) -> list[dict[str, Any]]:
    lines = read_lines(ledger, WHAT)
    for number, line in enumerate(lines, start=1):
        known = (
            isinstance(line, dict)
            and line.get("event") in ("opened", "scored")
            and {"key", "split_sha256"} <= line.keys()
        )
        if not known or (line["event"] == "scored" and not isinstance(line.get("score"), dict)):
            raise UserError(f"line {number} is not an entry of a {WHAT}", file=ledger)
    return lines
