from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ofa.rank.answers import Answer, AnswerBook
from search_spaces import Architecture, SearchSpace
from search_spaces.common.errors import UserError

IDENTITY = {"weights_sha256": "w" * 64, "selection_sha256": "s" * 64}


class Evaluator:
    """Answers that depend on the network; counts how often it is asked."""

    def __init__(self) -> None:
        self.num = 0

    def __call__(self, architecture: Architecture) -> Answer:
        self.num += 1
        rng = np.random.default_rng(int(architecture.key, 16))
        return Answer(rng.random(101) < 0.8, math.inf if self.num == 1 else 0.5)


@pytest.fixture
def asked(space: SearchSpace) -> list[Architecture]:
    return space.decode(space.sample(3, np.random.default_rng(0)))


def test_each_network_is_evaluated_once(tmp_path: Path, asked: list[Architecture]) -> None:
    path, evaluate = tmp_path / "answers.jsonl", Evaluator()
    told = [AnswerBook(path, evaluate, identity=IDENTITY)(one) for one in asked]
    again = AnswerBook(path, evaluate, identity=IDENTITY)
    assert all(one in again for one in asked)
    for first, one in zip(told, asked, strict=True):
        second = again(one)
        assert np.array_equal(first.correct, second.correct) and first.loss == second.loss
        assert (second.num_images, second.accuracy) == (101, first.correct.mean())
    assert evaluate.num == 3
    AnswerBook(path, evaluate, identity={**IDENTITY, "weights_sha256": "x" * 64})(asked[0])
    assert evaluate.num == 4  # another supernet's answers are none


def test_damage(tmp_path: Path, asked: list[Architecture]) -> None:
    path, evaluate = tmp_path / "answers.jsonl", Evaluator()
    book = AnswerBook(path, evaluate, identity=IDENTITY)
    for one in asked:
        book(one)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])  # the last line torn by a crash
    mended = AnswerBook(path, evaluate, identity=IDENTITY)
    assert asked[1] in mended and asked[2] not in mended
    mended(asked[2])
    line = json.loads(whole.splitlines()[0])
    for key, value in (("correct", "zz"), ("correct", None), ("correct", "00"), ("num_images", 99999)):
        path.write_text(json.dumps({**line, key: value}) + "\n")
        with pytest.raises(UserError, match=r"answers.jsonl: line 1"):
            AnswerBook(path, evaluate, identity=IDENTITY)
