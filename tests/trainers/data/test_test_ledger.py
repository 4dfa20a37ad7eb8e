"""The test split is read through the ledger only, and every network is scored on it once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.common.errors import UserError
from trainers.data.test_ledger import enter_score, score_once, stored_score


@pytest.fixture
def data(load: Any) -> Any:
    return load(num_images=40, num_classes=2, image_size=8)


def events(ledger: Path) -> list[tuple[str, str]]:
    return [(line["event"], line["key"]) for line in map(json.loads, ledger.read_text().splitlines())]


def test_batches_refuse_the_test_split(data: Any) -> None:
    with pytest.raises(UserError, match="test split is read once"):
        data.batches("test", resolution=8, batch_size=4)
    with pytest.raises(UserError, match=r"unknown split 'tets'.*'test'"):
        data.batches("tets", resolution=8, batch_size=4)


def test_one_score_for_each_network(data: Any, tmp_path: Path) -> None:
    ledger, calls = tmp_path / "run" / "test_ledger.jsonl", []

    def score(batches: Any) -> dict[str, float]:
        labels = torch.cat([labels for _, labels in batches])
        calls.append(len(labels))
        return {"accuracy": float((labels == 0).float().mean()), "num_images": len(labels)}

    def ask(key: str) -> dict[str, float]:
        return score_once(data, key=key, ledger=ledger, resolution=8, batch_size=3, score=score)

    assert ask("a") == ask("a") == {"accuracy": 0.5, "num_images": 8.0}
    assert calls == [8]
    ask("b")
    assert calls == [8, 8]
    assert events(ledger) == [("opened", "a"), ("scored", "a"), ("opened", "b"), ("scored", "b")]
    with pytest.raises(UserError, match="'a' was scored before"):
        data.final_test(resolution=8, batch_size=3, ledger=ledger, key="a")


def test_a_reading_is_entered_before_the_first_image(data: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    data.final_test(resolution=8, batch_size=3, ledger=ledger, key="a")
    assert events(ledger) == [("opened", "a")]


def test_an_interrupted_reading_may_be_repeated(data: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"

    def fail(batches: Any) -> dict[str, float]:
        next(batches)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_once(data, key="a", ledger=ledger, resolution=8, batch_size=3, score=fail)
    again = score_once(data, key="a", ledger=ledger, resolution=8, batch_size=3, score=lambda _: {"accuracy": 1.0})
    assert again == {"accuracy": 1.0}
    assert events(ledger) == [("opened", "a"), ("opened", "a"), ("scored", "a")]


def test_another_test_split_is_another_score(load: Any, data: Any, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    other = load(num_images=40, num_classes=2, image_size=8, split_seed=1)
    score_once(data, key="a", ledger=ledger, resolution=8, batch_size=3, score=lambda _: {"accuracy": 1.0})
    assert stored_score(ledger, key="a", split_sha256=other.split_sha256["test"]) is None


def test_a_score_needs_a_reading_and_is_entered_once(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="without a reading"):
        enter_score(tmp_path / "ledger.jsonl", key="a", split_sha256="0", score={"accuracy": 1.0})


@pytest.mark.parametrize(
    "line", ["not json", "[]", '{"event": "scored", "key": "a", "split_sha256": "0"}', '{"event": "x"}']
)
def test_a_foreign_ledger(tmp_path: Path, line: str) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(line + "\n")
    with pytest.raises(UserError, match="line 1"):
        stored_score(ledger, key="a", split_sha256="0")


def test_the_test_split_is_not_the_others(data: Any, tmp_path: Path) -> None:
    test = torch.cat([x for x, _ in data.final_test(resolution=8, batch_size=3, ledger=tmp_path / "l", key="a")])
    seen = {
        x.numpy().tobytes()
        for s in ("train", "calibration", "selection")
        for xs, _ in data.batches(s, batch_size=9)
        for x in xs
    }
    assert len(test) == 8 and len(seen) == 32
    assert not seen & {x.numpy().tobytes() for x in test}
