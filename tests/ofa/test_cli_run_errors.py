"""Damaged, foreign and hostile files in a run folder, limits nobody can keep, full disks, two runs in one folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from latency_tables.table import load_table
from search_spaces import SearchSpace, get_space
from search_spaces.supernet import build_supernet

TABLE = "tables/here.json"
SUPERNET = ("supernet.safetensors", "supernet.json")


def lines_of(run: Path, tiny: Path) -> dict[str, list[str]]:
    """Command lines on a run folder, by command."""
    return {
        "run": ["run", str(tiny), "--runs", str(run.parent)],
        "train": ["train", str(tiny), "--run", str(run)],
        "records": ["records", str(run), "-n", "16"],
        "fit": ["fit", str(run)],
        "search": ["search", str(run)],
        "search --max": ["search", str(run), "--max", "latency=60%"],
        "search --accuracy": ["search", "--accuracy", str(run / "predictor"), "--max", "macs=60k"],
        "export": ["export", str(run), "small"],
        "report": ["report", str(run)],
        "validate": ["validate", str(run / TABLE)],
        "measure": ["measure", "-o", str(run / TABLE), "--config", str(tiny)],
    }


@pytest.fixture
def each(refused: Any, run: Path, tiny: Path) -> Callable[..., None]:
    """Each of these commands must end with exit code 2 and a message that has these words."""

    def each(commands: str, *told: str) -> None:
        for command in commands.split(", "):
            message = refused(*lines_of(run, tiny)[command])
            assert all(words in message for words in told), (command, message)

    return each


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
    ofa: Any, run: Path, finished: Path, tiny: Path, checkpoints: list[Path]
) -> None:
    cut(checkpoints[0])
    answer = ofa(*lines_of(run, tiny)["train"])
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
    refused: Any, run: Path, tiny: Path, override: str, told: str, stage: str
) -> None:
    if stage == "begun":
        untrain(run)
    for command in ("run", "train"):
        message = refused(*lines_of(run, tiny)[command], "--set", override)
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


def test_a_damaged_cache_is_made_anew(ofa: Any, run: Path, tiny: Path, pickled: bytes) -> None:
    for path in (run / "calibrated").iterdir():
        path.write_bytes(pickled)
    assert ofa(*lines_of(run, tiny)["export"], "--format", "safetensors").code == 0


def test_search_result_that_lacks_entries(each: Any, run: Path) -> None:
    change(run / "search.json", lambda facts: facts["budgets"][0]["winner"].pop("measured"))
    each("run, search, export, report", f"{run / 'search.json'}: budgets.0.winner.measured: this key is required")


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("latency", "--max: 'latency' is not of the form metric=amount"),
        ("latency=", "--max: '' is not an amount of latency"),
        ("latency=-1ms", "--max: '-1ms' is not a positive amount of latency"),
        ("latency=0ms", "--max: '0ms' is not a positive amount of latency"),
        ("latency=nan", "--max: 'nan' is not a positive amount of latency"),
        ("latency=inf ms", "--max: 'inf ms' is not a positive amount of latency"),
        ("latency=1e400ms", "--max: '1e400ms' is not a positive amount of latency"),
        ("latency=5", "--max: '5' has no unit for latency. Known: ns, us, ms, s"),
        ("latency=5 parsecs", "--max: '5 parsecs' has an unknown unit 'parsecs'"),
        ("latncy=3ms", "--max: unknown metric 'latncy'. Did you mean 'latency'?"),
        ("latency@phone=3ms", "--max latency@phone: unknown device 'phone'. Known: here"),
        ("latency@=3ms", "--max: 'latency@' names no cost"),
        ("macs@here=3M", "--max: 'macs@here' names no cost"),
        ("energy=3mJ", "--max energy: unknown cost 'energy@here'"),
    ],
)
def test_limits_that_make_no_sense(refused: Any, run: Path, limit: str, told: str) -> None:
    assert told in refused("search", run, "--max", limit)
    assert "macs is limited twice" in refused("search", run, "--max", "macs=1M", "--max", "macs=2M")


def test_impossible_latency(ofa: Any, run: Path, space: SearchSpace) -> None:
    answer = ofa("search", run, "--max", "latency=1us")
    least, row = load_table(run / TABLE).cost(space).minimum()
    (cheapest,) = space.decode(row)
    assert answer.code == 3 and not answer.out
    assert "keeps latency@here <= 0.001 ms; the smallest achievable is" in answer.message
    assert f"Nearest network {cheapest.key}: latency@here {least:.4g} ms" in answer.message
    answer = ofa("search", run, "--max", "latency=1us", "--json")
    details = json.loads(answer.out)
    assert details["error"] == answer.message and details["exit_code"] == answer.code == 3
    assert details["binding"] == "latency@here" and details["smallest"] == {"latency@here": least}
    assert details["nearest"]["architecture"] == cheapest.to_json() and details["proven"] is True


def test_limits_that_clash_only_together(ofa: Any, run: Path, space: SearchSpace) -> None:
    """On a device where an operator is the faster the more it computes."""
    operators = space.operators()

    def turn_round(table: Any) -> None:
        for key, entry in table["entries"].items():
            entry |= dict.fromkeys(("p10_ms", "median_ms", "p90_ms"), 1e4 / max(operators[key].macs(), 1000))
        table["overhead_ms"], table["correction"] = 1e-9, {"slope": 1.0, "intercept_ms": 0.0, "num": 4}

    change(run / TABLE, turn_round)
    costs = {"macs": space.cost("macs"), "latency@here": load_table(run / TABLE).cost(space)}
    least = {name: cost.minimum()[0] for name, cost in costs.items()}
    limits = {"macs": f"{1.05 * least['macs']:.0f}", "latency": f"{1.05 * least['latency@here']}ms"}
    line = ["search", run, *(word for name, amount in limits.items() for word in ("--max", f"{name}={amount}"))]
    population = space.enumerate(10_000)
    kept = np.all([cost.evaluate(population) <= 1.05 * least[name] for name, cost in costs.items()], axis=0)
    assert not kept.any()
    answer = ofa(*line)
    assert answer.code == 3 and "together" in answer.message and "binds most" in answer.message
    assert "the smallest achievable, each alone, are macs" in answer.message and "Nearest network" in answer.message
    details = json.loads(ofa(*line, "--json").out)
    assert details["smallest"] == pytest.approx(least) and details["binding"] in costs
    assert set(details["nearest"]["costs"]) == set(costs)


@pytest.fixture(scope="session")
def space(finished: Path) -> SearchSpace:
    return SearchSpace.from_description(json.loads((finished / "supernet.json").read_text())["space"])


# -- full disks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def full_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From now on there is no space for files whose path has this in it."""

    def full_for(part: str) -> None:
        sync, write = os.fsync, os.write

        def check(descriptor: int) -> None:
            if part in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", lambda descriptor: (check(descriptor), sync(descriptor))[1])
        monkeypatch.setattr(os, "write", lambda descriptor, data: (check(descriptor), write(descriptor, data))[1])

    return full_for


@pytest.mark.parametrize(
    ("full", "command", "gone", "told"),
    [
        ("step-", "train", (*SUPERNET, "checkpoints"), "checkpoints/step-00000003.safetensors: cannot be written"),
        ("supernet.safetensors", "train", SUPERNET, "supernet.safetensors: cannot be written"),
        ("journal", "measure", (TABLE,), "tables/here.journal.jsonl: cannot be appended to"),
        ("records.jsonl", "records", (), "records.jsonl: cannot be appended to"),
        ("predictor.safetensors", "fit", ("predictor",), "predictor.safetensors: cannot be written"),
        ("search.json", "search", ("search.json",), "search.json: cannot be written"),
        ("model.safetensors", "run", ("specialized",), "model.safetensors: cannot be written"),
        ("report.html", "report", (), "report.html: cannot be written"),
    ],
)
def test_disk_full(
    each: Any, run: Path, full_for: Any, full: str, command: str, gone: tuple[str, ...], told: str
) -> None:
    for name in gone:
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink()
    full_for(full)
    each(command, told, "No space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A disk of so many bytes; called again: the same with another size."""
    mount = tmp_path / "disk"
    mount.mkdir()

    def small_disk(size: str) -> Path:
        options = f"size={size},remount" if mount.is_mount() else f"size={size}"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], capture_output=True)
        if done.returncode:
            pytest.skip("mounting a disk needs root")
        return mount

    yield small_disk
    if mount.is_mount():
        subprocess.run(["umount", str(mount)], check=True)


def test_training_goes_on_when_there_is_space_again(
    refused: Any, ofa: Any, small_disk: Any, finished: Path, tiny: Path
) -> None:
    run = small_disk("300k") / "tiny"
    message = refused(*lines_of(run, tiny)["train"])
    assert message == (
        f"{run}/checkpoints/step-00000006.safetensors: cannot be written: No space left on device. "
        "The old file is untouched."
    )
    assert (run / "checkpoints" / "step-00000003.json").exists()
    small_disk("4m")
    assert ofa(*lines_of(run, tiny)["train"]).code == 0
    assert (run / SUPERNET[0]).read_bytes() == (finished / SUPERNET[0]).read_bytes()


@pytest.mark.parametrize("form", ["safetensors", "pt2", "onnx"])
def test_no_space_for_an_export(refused: Any, small_disk: Any, run: Path, form: str) -> None:
    disk = small_disk("36k")
    message = refused("export", run, "small", "--format", form, "-o", disk / "out")
    assert "No space left on device" in message and list(disk.iterdir()) == []
