from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from predictors.record_file import RecordBook
from predictors.records import SubnetEvaluator, evaluate_missing, load_records, process_of, record_subnets
from predictors.sampling import record_groups, record_list
from predictors.settings import RecordSettings
from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.supernet import build_supernet
from trainers.checkpoints.store import save_supernet
from trainers.data import load_data
from trainers.settings.data import DataSettings

IDENTITY = {"weights_sha256": "w" * 64, "calibration_sha256": "c" * 64, "selection_sha256": "s" * 64}


@dataclass(frozen=True)
class Result:
    accuracy: float
    loss: float = 0.25
    num_images: int = 100


class Evaluator:
    """Accuracy by key; remembers who was asked, and fails after `lives` networks."""

    def __init__(self, lives: int = 10**9) -> None:
        self.asked: list[str] = []
        self.lives = lives

    def __call__(self, architecture: Architecture) -> Result:
        if len(self.asked) == self.lives:
            raise KeyboardInterrupt
        self.asked.append(architecture.key)
        return Result(int(architecture.key[:4], 16) / 65535)

    def together(self, architectures: Sequence[Architecture]) -> list[Result]:
        assert len(architectures) > 1
        return [self(architecture) for architecture in architectures]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.jsonl"


def book(path: Path, space: SearchSpace, **changes: str) -> RecordBook:
    return RecordBook(path, space, identity=IDENTITY | changes)


def test_an_interrupted_recording_goes_on_where_it_was(space: SearchSpace, path: Path) -> None:
    rows = record_list(space, 12, seed=0, sampling="uniform")
    first, second, third = Evaluator(lives=5), Evaluator(), Evaluator()
    with pytest.raises(KeyboardInterrupt):
        evaluate_missing(book(path, space), rows, first)
    with open(path, "a") as stream:
        stream.write('{"torn": ')
    evaluate_missing(book(path, space), rows, second)
    evaluate_missing(book(path, space), rows, third)
    keys = [architecture.key for architecture in space.decode(rows)]
    assert first.asked + second.asked == keys
    assert third.asked == []
    assert len(path.read_text().splitlines()) == 12
    records = load_records(path, space=space, weights_sha256="w" * 64)
    assert list(records.keys) == sorted(keys)
    assert space.decode(records.population)[3].key == records.keys[3]
    assert records.accuracies[3] == int(records.keys[3][:4], 16) / 65535


def test_ranks_share_the_list_without_overlap_whatever_they_see(space: SearchSpace, path: Path) -> None:
    rows = record_list(space, 15, seed=0, sampling="uniform")
    asked = []
    for rank in (2, 0, 1):  # each opens the file only after the one before has filled in its share
        evaluator = Evaluator()
        evaluate_missing(book(path, space), rows, evaluator, rank=rank, world_size=3)
        asked += evaluator.asked
    assert len(asked) == len(set(asked)) == 15


def test_of_a_group_on_file_in_part_the_rest_is_evaluated(space: SearchSpace, path: Path) -> None:
    groups = record_groups(space, 40, seed=0, sampling="nested")
    rows = np.concatenate(groups)
    keys = [architecture.key for architecture in space.decode(rows)]
    fourth = len(np.concatenate(groups[:3]))
    evaluate_missing(book(path, space), rows[[fourth + 1, fourth + 2]], Evaluator())
    first, second, third = Evaluator(lives=fourth + 3), Evaluator(), Evaluator()
    with pytest.raises(KeyboardInterrupt):
        evaluate_missing(book(path, space), groups, first, together=first.together)
    assert first.asked == [*keys[: fourth + 1], keys[fourth + 3], keys[fourth + 4]]  # the third of that group failed
    assert len(load_records(path, space=space)) == fourth + 2
    evaluate_missing(book(path, space), groups, second, together=second.together)
    evaluate_missing(book(path, space), groups, third, together=third.together)
    assert second.asked == [keys[fourth], *keys[fourth + 3 :]]
    assert third.asked == []
    assert list(load_records(path, space=space).keys) == sorted(keys)
    assert len(path.read_text().splitlines()) == 40
    records = load_records(path, space=space)
    names = dict(zip(records.keys, records.groups, strict=True))
    for group in groups[1:]:
        members = [architecture.key for architecture in space.decode(group)]
        found = {names[key] for key in members if key not in keys[fourth + 1 : fourth + 3]}  # those were on file before
        assert found == {members[0]}


def test_ranks_share_whole_groups(space: SearchSpace, path: Path) -> None:
    groups = record_groups(space, 60, seed=0, sampling="nested")
    for rank in (1, 0):
        evaluator = Evaluator()
        together = evaluator.together
        evaluate_missing(book(path, space), groups, evaluator, together=together, rank=rank, world_size=2)
        mine = np.concatenate(groups[rank::2])
        assert evaluator.asked == [architecture.key for architecture in space.decode(mine)]


@dataclass(frozen=True)
class Config:
    data: DataSettings
    records: RecordSettings
    seed: int = 0


@pytest.fixture
def tiny_run(tmp_path: Path) -> tuple[Path, Config]:
    """A supernet with random weights in every layer, and images made by a formula."""
    described = yaml.safe_load((Path(__file__).parents[1] / "ofa" / "tiny.yaml").read_text())
    data = described["data"]
    space = get_space(described["space"], num_classes=data["num_classes"], in_channels=data["channels"])
    supernet = build_supernet(space, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    config = Config(DataSettings(**data), RecordSettings(num=30, sampling="nested"))
    images = load_data(config.data, seed=config.seed)
    save_supernet(tmp_path, supernet, space, {"data": images.description(), "seed": 0, "step": 1})
    return tmp_path, config


def test_nested_records_are_those_of_each_network_alone(tiny_run: tuple[Path, Config]) -> None:
    run, config = tiny_run
    records = record_subnets(run, config)
    assert len(records) == 30
    evaluator = SubnetEvaluator(run, config)
    alone = [evaluator(architecture) for architecture in evaluator.book.space.decode(records.population)]
    assert [result.accuracy for result in alone] == records.accuracies.tolist()
    assert [result.loss for result in alone] == records.losses.tolist()
    assert len(set(records.losses.tolist())) > 20
    before = (run / "records.jsonl").read_bytes()
    record_subnets(run, config)
    assert (run / "records.jsonl").read_bytes() == before


def test_processes_that_append_at_once_lose_no_line(space: SearchSpace, path: Path) -> None:
    script = """
import sys, json
from predictors.record_file import RecordBook
from predictors.records import evaluate_missing
from predictors.sampling import record_list
from search_spaces import SearchSpace
from types import SimpleNamespace
space = SearchSpace.from_description(json.loads(sys.argv[2]))
book = RecordBook(sys.argv[1], space, identity=json.loads(sys.argv[3]))
rows = record_list(space, 80, seed=0, sampling="uniform")
evaluate = lambda architecture: SimpleNamespace(accuracy=0.5, loss=1.0, num_images=10)
evaluate_missing(book, rows, evaluate, rank=int(sys.argv[4]), world_size=2)
"""
    arguments = [str(path), json.dumps(space.description), json.dumps(IDENTITY)]
    workers = [subprocess.Popen([sys.executable, "-c", script, *arguments, str(rank)]) for rank in (0, 1)]
    assert [worker.wait() for worker in workers] == [0, 0]
    assert len(path.read_text().splitlines()) == 80
    assert len(load_records(path, space=space)) == 80


def test_a_diverged_subnet_is_kept_as_a_fact(space: SearchSpace, path: Path) -> None:
    (architecture,) = space.decode(space.smallest())
    book(path, space).accuracy(architecture, lambda _: Result(0.1, loss=math.nan), origin="search")
    records = load_records(path, space=space)
    assert records.accuracies[0] == 0.1
    assert records.losses[0] == math.inf
    assert len(records.of(("sampled",))) == 0
    assert len(records.of(("search",))) == 1


def test_records_of_something_else_are_refused_and_kept(space: SearchSpace, path: Path) -> None:
    evaluate_missing(book(path, space), record_list(space, 4, seed=0, sampling="uniform"), Evaluator())
    before = path.read_bytes()
    for name, what in (("weights", "supernet"), ("calibration", "calibration split"), ("selection", "selection split")):
        with pytest.raises(UserError, match=f"records.jsonl: line 1: {name}_sha256: record of another {what}"):
            book(path, space, **{f"{name}_sha256": "x" * 64})
    other = SearchSpace.from_description(space.description | {"num_classes": 11})
    with pytest.raises(UserError, match="record of another space"):
        load_records(path, space=other)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": 1.5}, "line 2: accuracy: must be a number in 0..1"),
        ({"accuracy": -0.1}, "line 2: accuracy: must be a number in 0..1"),
        ({"accuracy": True}, "line 2: accuracy"),
        ({"accuracy": "0.9"}, "line 2: accuracy"),
        ({"accuracy": math.nan}, "line 2: accuracy"),
        ({"loss": math.inf}, "line 2: loss"),
        ({"split": "test"}, "line 2: split: accuracies come from the selection split only"),
        ({"key": "0123456789ab"}, "line 2: key: the architecture's key is"),
        ({"origin": "elsewhere"}, "line 2: origin"),
        ({"group": 3}, "line 2: group"),
        ({"architecture": {"resolution": 21}}, "line 2"),
        ({"architecture": "large"}, "line 2"),
        ({"weights_sha256": None}, "line 2: weights_sha256"),
        (None, "line 2: not a record"),
    ],
)
def test_bad_lines_are_named(space: SearchSpace, path: Path, change, message: str) -> None:
    evaluate_missing(book(path, space), record_list(space, 4, seed=0, sampling="uniform"), Evaluator())
    lines = path.read_text().splitlines()
    lines[1] = json.dumps([1] if change is None else json.loads(lines[1]) | change)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=message) as caught:
        load_records(path, space=space, weights_sha256="w" * 64)
    assert str(path) in str(caught.value)


def test_a_pickle_or_a_missing_key_is_refused(space: SearchSpace, path: Path) -> None:
    path.write_bytes(b"\x80\x04cos\nsystem\n(S'touch hacked'\ntR.\n")
    with pytest.raises(UserError, match="line 1 of this records file is not JSON"):
        load_records(path, space=space)
    path.write_text('{"accuracy": 0.5}\n')
    with pytest.raises(UserError, match="line 1: architecture: this key is required"):
        load_records(path, space=space)


def test_rank_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert process_of() == (1, 3)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(UserError, match="RANK"):
        process_of()


def test_file_order_does_not_show(space: SearchSpace, path: Path) -> None:
    evaluate_missing(book(path, space), record_list(space, 9, seed=0, sampling="uniform"), Evaluator())
    before = load_records(path, space=space)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[::-1], lines[0]]) + "\n")
    after = load_records(path, space=space)
    assert after.digest == before.digest
    assert np.array_equal(after.population, before.population)
