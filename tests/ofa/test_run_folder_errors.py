"""Damaged, foreign and hostile files in a run folder, two runs in one folder."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

from search_spaces import get_space
from search_spaces.supernet import build_supernet

TABLE = "tables/here.json"
SUPERNET = ("supernet.safetensors", "supernet.json")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def change(path: Path, edit: Callable[[Any], None]) -> None:
    data = json.loads(path.read_text())
    edit(data)
    path.write_text(json.dumps(data))


def untrain(run: Path) -> None:
    """Back to the last checkpoint."""
    for name in SUPERNET:
        (run / name).unlink()


def vouch(weights: Path, data: bytes) -> None:
    """Put `data` in place of a checkpoint's tensors, and its hash where it is checked, with none that tells."""
    weights.write_bytes(data)

    def vouched(info: dict[str, Any]) -> None:
        info.pop("info_sha256", None)
        info["sha256"] = hashlib.sha256(data).hexdigest()

    change(weights.with_suffix(".json"), vouched)


# -- checkpoints and supernets -----------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(run: Path) -> list[Path]:
    """Tensors of the checkpoints of a run that was stopped before its end, newest first."""
    untrain(run)
    found = sorted((run / "checkpoints").glob("step-*.safetensors"), reverse=True)
    assert len(found) == 2
    return found


def test_truncated_checkpoint_falls_back_to_the_one_before(
    ofa: Any, run: Path, finished: Path, lines_of: Any, checkpoints: list[Path]
) -> None:
    cut(checkpoints[0])
    answer = ofa(*lines_of(run)["train"])
    assert answer.code == 0, answer.err
    assert answer.err.startswith(f"warning: {checkpoints[0]}: truncated or damaged") and answer.err.count("\n") == 1
    assert "Going on from the checkpoint before" in answer.err
    assert (run / SUPERNET[0]).read_bytes() == (finished / SUPERNET[0]).read_bytes()


def test_training_does_not_start_over_when_all_checkpoints_are_damaged(each: Any, checkpoints: list[Path]) -> None:
    for path in checkpoints:
        cut(path)
    each("run, train", f"{checkpoints[0].parent}: none of the 2 checkpoints can be read", f"{checkpoints[0]}: ")


def test_checkpoints_of_another_space(each: Any, checkpoints: list[Path]) -> None:
    for path in checkpoints:
        tensors = safetensors.torch.load(path.read_bytes())
        name = "model.slots.classifier.linear.weight"
        tensors[name] = tensors[name][:, :5].contiguous()
        vouch(path, safetensors.torch.save(tensors))
    each("run, train", f"{checkpoints[0]}: ", "holds weights of another space: shape")


def test_truncated_supernet(each: Any, run: Path) -> None:
    cut(run / SUPERNET[0])
    each("run, records, export", f"{run / SUPERNET[0]}: this supernet is truncated, damaged or not a")


def test_supernet_of_another_space(each: Any, run: Path, tiny: Path) -> None:
    settings = yaml.safe_load(tiny.read_text())["space"] | {"widths": [8, 24]}
    other = build_supernet(get_space(settings, num_classes=3, in_channels=1)).state_dict()
    (run / SUPERNET[0]).write_bytes(safetensors.torch.save({name: value.clone() for name, value in other.items()}))
    each("run, records, export", f"{run / SUPERNET[0]}: ", "holds weights of another space: shape (24,")


@pytest.mark.parametrize("stage", ["finished", "begun"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.epochs=5", "train.epochs is 6.0 there and 5.0 here"),
        ("seed=1", "seed is 0 there and 1 here"),
        ("space.kernel=[3]", "space.kernel is [3, 5] there and [3] here"),
        ("data.num_images=500", "data.num_images is 600 there and 500 here"),
    ],
)
def test_another_training_in_the_same_folder(
    refused: Any, run: Path, lines_of: Any, override: str, told: str, stage: str
) -> None:
    if stage == "begun":
        untrain(run)
    for command in ("run", "train"):
        message = refused(*lines_of(run)[command], "--set", override)
        assert message.startswith(f"{run / ('supernet.json' if stage == 'finished' else 'checkpoints')}")
        assert f"belongs to a training with other settings: {told}. Choose another name" in message


def test_run_folder_in_use(each: Any, run: Path) -> None:
    with open(run / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        each("run", f"{run}: another process is working in this run folder")


# -- latency tables ----------------------------------------------------------------------------------------------------

ALL_READERS = "run, search, export, report, validate, measure"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, None, "1"])
def test_tables_with_entries_that_are_no_latencies(each: Any, run: Path, value: object) -> None:
    key = next(iter(json.loads((run / TABLE).read_text())["entries"]))
    change(run / TABLE, lambda table: table["entries"][key].update(median_ms=value))
    told = "nothing" if value is None else repr(value)
    each(ALL_READERS, f"{run / TABLE}: entries.{key}.median_ms: must be", f"(got {told})")


def test_tables_with_missing_entries(each: Any, run: Path) -> None:
    key = next(iter(json.loads((run / TABLE).read_text())["entries"]))
    change(run / TABLE, lambda table: table["entries"].pop(key))
    each("search, export, report, validate", f"{run / TABLE}: entries: 1 of 41 operators", f"are missing: {key}")


def test_truncated_tables(each: Any, run: Path) -> None:
    cut(run / TABLE)
    each(ALL_READERS, f"{run / TABLE}: not a latency table: not valid JSON")


def test_tables_of_another_space(each: Any, run: Path) -> None:
    def other(table: Any) -> None:
        table["space"] |= {"name": "elsewhere", "fingerprint": "0" * 12}
        table["entries"] = {f"{key}-x": entry for key, entry in table["entries"].items()}

    change(run / TABLE, other)
    each("search, export, report", f"{run / TABLE}: this latency table is of the space 'elsewhere' (000000000000)")
    each("run, measure", f"{run / TABLE}: space: holds a table of another space: 'elsewhere' (000000000000)")


# -- pickles -----------------------------------------------------------------------------------------------------------


class Hostile:
    """Makes a folder when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def pickled(tmp_path: Path) -> Iterator[bytes]:
    """A pickle that must never be opened."""
    mark = tmp_path / "mark"
    yield pickle.dumps(Hostile(mark))
    assert not mark.exists()
    pickle.loads(pickle.dumps(Hostile(mark)))
    assert mark.exists(), "the payload works"


@pytest.mark.parametrize(
    ("name", "commands"),
    [
        ("supernet.safetensors", "run, records, export"),
        ("supernet.json", "run, train, records, fit, search, export, report"),
        (TABLE, ALL_READERS),
        ("records.jsonl", "run, records, fit, search --max, report"),
        ("predictor/predictor.json", "run, fit, search, search --accuracy, report"),
        ("predictor/predictor.safetensors", "run, fit, search, search --accuracy, report"),
        ("search.json", "run, search, export, report"),
        ("measurements.jsonl", "run, search --max"),
        ("test_ledger.jsonl", "run, report"),
        ("training.jsonl", "report"),
        ("reference.json", "report"),
        ("specialized/small/report.json", "report"),
        ("config.yaml", "records, fit, search, export, report"),
    ],
)
def test_pickles_are_refused(each: Any, run: Path, pickled: bytes, name: str, commands: str) -> None:
    (run / name).write_bytes(pickled)
    each(commands, f"{run / name}: ")
    if name.endswith(".jsonl"):
        (run / name).write_bytes(pickled + b"\n")
        each(commands, f"{run / name}: line 1 of this ", "is not JSON")


def test_pickled_weights_with_the_right_hashes_are_refused(
    each: Any, run: Path, pickled: bytes, checkpoints: list[Path], tmp_path: Path
) -> None:
    archive = io.BytesIO()
    torch.save({"weight": Hostile(tmp_path / "mark")}, archive)
    for data in (pickled, archive.getvalue()):
        for path in checkpoints:
            vouch(path, data)
        each("run, train", f"{checkpoints[0]}: this checkpoint is truncated, damaged or not a safetensors file")
        arrays = run / "predictor" / "predictor.safetensors"
        arrays.write_bytes(data)
        described = run / "predictor" / "predictor.json"
        change(described, lambda facts, data=data: facts.update(arrays_sha256=hashlib.sha256(data).hexdigest()))
        each("search --accuracy", f"{arrays}: does not hold a")


def test_pickled_teacher_journal_and_architecture(
    each: Any, refused: Any, run: Path, pickled: bytes, checkpoints: list[Path]
) -> None:
    teacher, journal, architecture = (
        run / "checkpoints/teacher.safetensors",
        run / "tables/here.journal.jsonl",
        run / "a",
    )
    kept = teacher.read_bytes()
    teacher.write_bytes(pickled)
    each("run, train", f"{teacher}: this teacher is gone or damaged")
    teacher.write_bytes(kept)
    architecture.write_bytes(pickled)
    assert refused("export", run, architecture).startswith(f"{architecture}: not an architecture file: not valid JSON")
    (run / TABLE).unlink()
    journal.write_bytes(pickled)
    each("run, measure", f"{journal}: line 1 of this measuring journal is not JSON")


def test_a_damaged_cache_is_made_anew(ofa: Any, run: Path, lines_of: Any, pickled: bytes) -> None:
    for path in (run / "calibrated").iterdir():
        path.write_bytes(pickled)
    assert ofa(*lines_of(run)["export"], "--format", "safetensors").code == 0


def test_search_result_that_lacks_entries(each: Any, run: Path) -> None:
    change(run / "search.json", lambda facts: facts["budgets"][0]["winner"].pop("measured"))
    each("run, search, export, report", f"{run / 'search.json'}: budgets.0.winner.measured: this key is required")
