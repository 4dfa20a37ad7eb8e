"""Forms that fail: each by itself, told with its reason, and nothing of it left; the others come out all the same."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from torch import nn

from ofa.export.export import ExportJob, export_network
from ofa.export.settings import ExportSettings
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_lines
from search_spaces.plain import build_operator
from tests.ofa.export.fakes import (
    HalfWritten,
    Honest,
    LatePackage,
    Lying,
    NotLoading,
    Refusing,
    Stopping,
    not_installed,
    register,
)

FAILING = ("refusing", "lying", "half", "notloading", "latepackage", "absent")


def settings_of(*forms: str) -> ExportSettings:
    return ExportSettings(forms=forms, measure_forms=False)


def gated(job: ExportJob) -> tuple[str, str]:
    """(slot, key) of the first operator with squeeze-and-excite."""
    for slot, operator in job.space.network(job.architecture):
        if any(isinstance(layer, nn.Hardsigmoid) for layer in build_operator(operator).modules()):
            return slot, operator.key
    raise AssertionError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = (Honest(), Refusing(), Lying(), HalfWritten(), NotLoading(), LatePackage())
    register(monkeypatch, *forms, absent=not_installed)


def test_each_fails_alone_and_the_others_come_out(failing: None, job: ExportJob, tmp_path: Path) -> None:
    out = tmp_path / "small"
    report = export_network(job, out=out, settings=settings_of("safetensors", *FAILING, "honest"), quiet=True)
    assert {path.name for path in out.iterdir()} == {
        "README.md",
        "architecture.json",
        "report.json",
        "model.safetensors",
        "honest.bin",
    }
    assert json.loads((out / "report.json").read_text()) == report
    assert set(report["forms"]) == {"safetensors", "honest"} and tuple(report["failed"]) == FAILING
    slot, key = gated(job)
    told = {name: failure["message"] for name, failure in report["failed"].items()}
    assert told["refusing"] == f"cannot take the operator `{slot}` ({key}): no kernel for a gate"
    assert (report["failed"]["refusing"]["slot"], report["failed"]["refusing"]["operator"]) == (slot, key)
    assert "differs from the network by 0.1" in told["lying"] and report["failed"]["lying"]["operator"] is None
    assert told["half"] == "ValueError"
    assert told["notloading"].startswith(f"cannot take the operator `{slot}` ({key}): ")
    assert told["notloading"].endswith("unknown opcode 77")
    for name in ("latepackage", "absent"):
        assert "needs the package 'nowhere', which is not installed. pip install nowhere" in told[name]
    # the test split: once for each file that came out
    scored = [line["key"] for line in read_lines(job.ledger, "ledger") if line["event"] == "scored"]
    assert scored == [job.test_key, f"{job.test_key}/honest"]


def test_what_failed_is_tried_again_and_what_was_read_is_not(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, HalfWritten())
    settings = settings_of("safetensors", "half")
    first = export_network(job, out=tmp_path / "small", settings=settings, quiet=True)
    assert set(first["failed"]) == {"half"}
    ledger = job.ledger.read_text()
    monkeypatch.setattr(HalfWritten, "write", Honest.write)
    second = export_network(job, out=tmp_path / "small", settings=settings, quiet=True)
    assert second["failed"] == {} and (tmp_path / "small" / "half.bin").exists()
    assert second["forms"]["safetensors"] == first["forms"]["safetensors"]
    assert job.ledger.read_text().startswith(ledger)
    stamp = (tmp_path / "small" / "half.bin").stat().st_mtime_ns
    assert export_network(job, out=tmp_path / "small", settings=settings, quiet=True) == second
    assert (tmp_path / "small" / "half.bin").stat().st_mtime_ns == stamp


def test_where_all_fail_nothing_is_written(failing: None, job: ExportJob, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "older").write_text("stays")
    with pytest.raises(UserError, match=r"nothing was exported\. lying: .*differs.*; half: ValueError; absent: needs"):
        export_network(job, out=tmp_path / "small", settings=settings_of("lying", "half", "absent"), quiet=True)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]  # nothing left over, the test split not read
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["older"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), UserError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SystemExit(3), SystemExit),
    ],
)
def test_a_full_disk_or_an_interrupt_ends_the_export(
    error: BaseException, raised: type[BaseException], job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, Stopping(error))
    with pytest.raises(raised) as told:
        export_network(job, out=tmp_path / "small", settings=settings_of("safetensors", "stopping"), quiet=True)
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "No space left on device" in str(told.value)


def test_another_exact_form_is_scored_where_the_preferred_one_fails(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Onnx(HalfWritten):
        name = "onnx"

    register(monkeypatch, Onnx())
    report = export_network(job, out=tmp_path / "small", settings=settings_of("onnx", "safetensors"), quiet=True)
    assert report["accuracy"]["selection"]["form"] == report["accuracy"]["test"]["form"] == "safetensors"
