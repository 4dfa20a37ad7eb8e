"""The folder that an export leaves: whole, verified, the same every time, and usable without this project."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ofa.export.export import ExportJob, export_network
from ofa.export.forms.safetensors import load_network
from ofa.export.remeasure import remeasure
from ofa.export.settings import ExportSettings
from search_spaces.common.files import file_digest, read_lines
from tests.ofa.export.fakes import Honest, InInt8, register


def test_all_files_are_there_and_as_the_report_says(exported: tuple[ExportJob, Path, dict]) -> None:
    _, out, report = exported
    names = {"README.md", "architecture.json", "report.json", *(form["file"] for form in report["forms"].values())}
    assert names == {path.name for path in out.iterdir()} and set(report["forms"]) == set(ExportSettings().forms)
    for form in report["forms"].values():
        assert (
            form["sha256"] == file_digest(out / form["file"]) and form["bytes"] == (out / form["file"]).stat().st_size
        )
        assert form["num_images"] >= 64 and form["max_abs"] <= 1e-4 and form["exact"]
        assert form["latency"]["median_ms"] > 0
    assert json.loads((out / "report.json").read_text()) == report
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]


def test_costs_layers_and_latency(exported: tuple[ExportJob, Path, dict]) -> None:
    job, _, report = exported
    assert report["costs"]["params"] == sum(parameter.numel() for parameter in job.network.parameters())
    latency = report["latency"]["here"]
    assert latency["measured"]["median_ms"] > 0 and latency["measured"]["form"] == "onnx"
    assert sum(layer["latency"]["here"]["ms"] for layer in report["layers"]) == pytest.approx(latency["predicted_ms"])
    assert sum(layer["latency"]["here"]["share"] for layer in report["layers"]) == pytest.approx(1)
    assert [layer["slot"] for layer in report["layers"]] == [
        *(slot for slot, _ in job.space.network(job.architecture)),
        "overhead",
    ]


def test_scores_are_those_of_the_file(exported: tuple[ExportJob, Path, dict]) -> None:
    job, out, report = exported
    network = load_network(out)
    correct, num = 0, 0
    for images, labels in job.data.batches("selection", resolution=job.architecture.resolution, batch_size=50):
        with torch.inference_mode():
            correct += int((network(images).argmax(1) == labels).sum())
        num += len(labels)
    assert report["accuracy"]["selection"]["accuracy"] == pytest.approx(correct / num, abs=1e-9)
    assert report["accuracy"]["test"]["num_images"] == job.data.size("test")
    for form in report["forms"].values():
        assert form["accuracy"]["selection"]["accuracy"] == pytest.approx(correct / num, abs=1e-9)
        assert form["accuracy"]["test"]["accuracy"] == report["accuracy"]["test"]["accuracy"]
    assert report["accuracy"]["selection"]["form"] == "onnx" and len(scored(job)) == len(report["forms"])


def test_a_second_export_does_nothing_again(exported: tuple[ExportJob, Path, dict]) -> None:
    job, out, report = exported
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    ledger = job.ledger.read_text()
    assert export_network(job, out=out, settings=ExportSettings(), quiet=True) == report
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()} and job.ledger.read_text() == ledger


@pytest.mark.slow
def test_a_damaged_export_is_made_again_from_the_same_readings(
    exported: tuple[ExportJob, Path, dict], tmp_path
) -> None:
    job, _, _ = exported
    job = replace(job, ledger=tmp_path / "ledger.jsonl", journal=tmp_path / "journal.jsonl")
    out, settings = tmp_path / "again", ExportSettings(forms=("safetensors",), measure_forms=False)
    first = export_network(job, out=out, settings=settings, quiet=True)
    (out / "model.safetensors").write_bytes(b"damaged")
    assert (
        export_network(job, out=out, settings=settings, quiet=True) == first
    )  # measured once, the test split read once
    assert file_digest(out / "model.safetensors") == first["forms"]["safetensors"]["sha256"]
    assert [line["event"] for line in read_lines(tmp_path / "ledger.jsonl", "ledger")] == ["opened", "scored"]
    assert len(read_lines(tmp_path / "journal.jsonl", "journal")) == 1


def test_a_file_is_measured_once_and_another_of_the_same_network_again(
    exported: tuple[ExportJob, Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, journal = exported[0], tmp_path / "journal.jsonl"
    measured = SimpleNamespace(median_ms=1.0, p10_ms=1.0, p90_ms=1.0, count=1)
    monkeypatch.setattr("ofa.export.remeasure.measure_onnx_files", lambda paths, device: [measured])
    for content, num_measured in (("one", 1), ("one", 1), ("other", 2)):
        (tmp_path / "model.onnx").write_text(content)
        remeasure(
            job.network,
            network_sha256=job.network_sha256,
            input_shape=job.input_shape,
            folder=tmp_path,
            forms=("onnx",),
            device=job.devices[0],
            journal=journal,
        )
        assert len(read_lines(journal, "journal")) == num_measured


_OUTSIDE = """
import sys
{code}
project = {{"ofa", "search_spaces", "latency_tables", "trainers", "predictors"}}
assert not project & {{name.partition(".")[0] for name in sys.modules}}, "imports this project"
for name in project:
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name + " can be imported: this test proves nothing")
"""
_PT2 = """
import torch
network = torch.export.load("model.pt2").module()
images = torch.load("images.pt", weights_only=True)
with torch.inference_mode():
    logits = torch.cat([network(images[:1]), network(images[1:])])
torch.save(logits, "pt2.pt")
"""
_ONNX = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
images = numpy.load("images.npy")
logits = numpy.concatenate([session.run(None, {"image": part})[0] for part in (images[:1], images[1:])])
numpy.save("onnx.npy", logits)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("form", [pytest.param("pt2", marks=pytest.mark.slow), "onnx"])
def test_forms_run_without_this_project(exported: tuple[ExportJob, Path, dict], tmp_path: Path, form: str) -> None:
    import numpy as np

    job, out, _ = exported
    images = next(iter(job.data.batches("selection", resolution=job.architecture.resolution, batch_size=9)))[0]
    (tmp_path / f"model.{form}").write_bytes((out / f"model.{form}").read_bytes())
    torch.save(images, tmp_path / "images.pt")
    np.save(tmp_path / "images.npy", images.numpy())
    script = _OUTSIDE.format(code=_PT2 if form == "pt2" else _ONNX)
    # -S -I: neither the working directory nor an installed copy of the project; the libraries come by path
    paths = [path for path in sys.path if path.endswith("site-packages")]
    bare = tmp_path / "libraries"
    bare.mkdir()
    for folder in map(Path, paths):
        for entry in folder.iterdir():
            if not entry.name.startswith(("__editable__", "ofa")) and entry.suffix != ".pth":
                (bare / entry.name).symlink_to(entry)
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(bare)!r}); exec({script!r})"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    with torch.inference_mode():
        expected = job.network(images)
    found = (
        torch.load(tmp_path / "pt2.pt", weights_only=True)
        if form == "pt2"
        else torch.from_numpy(np.load(tmp_path / "onnx.npy"))
    )
    assert (expected - found).abs().max() <= 1e-4


def test_files_name_no_path_of_this_machine(exported: tuple[ExportJob, Path, dict]) -> None:
    _, out, _ = exported
    for path in out.iterdir():
        content = path.read_bytes()
        assert b"site-packages" not in content and str(Path.cwd()).encode() not in content, path.name


def scored(job: ExportJob) -> list[str]:
    return [line["key"] for line in read_lines(job.ledger, "ledger") if line["event"] == "scored"]


def test_only_a_network_with_a_test_score_is_scored_in_other_forms(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, Honest(), InInt8())
    settings = ExportSettings(forms=("safetensors",), measure_forms=False)
    more = ExportSettings(forms=("safetensors", "honest", "in-int8"), measure_forms=False)
    adhoc = replace(job, read_test=False)
    report = export_network(adhoc, out=tmp_path / "one", settings=more, quiet=True)
    assert report["accuracy"]["test"] is None and not job.ledger.exists()
    assert all(form["accuracy"]["test"] is None for form in report["forms"].values())
    winner = export_network(job, out=tmp_path / "two", settings=settings, quiet=True)
    assert scored(job) == [job.test_key]
    again = export_network(adhoc, out=tmp_path / "three", settings=more, quiet=True)
    assert again["accuracy"] == winner["accuracy"]
    assert scored(job)[:2] == [job.test_key, f"{job.test_key}/honest"] and len(scored(job)) == 3
    assert scored(job)[2].startswith(f"{job.test_key}/in-int8-")
    for name, form in again["forms"].items():
        assert form["accuracy"]["test"]["form"] == name and form["accuracy"]["test"]["num_images"] == 80
    exact, int8 = (again["forms"][name]["accuracy"] for name in ("honest", "in-int8"))
    assert exact["test"]["accuracy"] == winner["accuracy"]["test"]["accuracy"]
    assert int8["test"]["loss"] != exact["test"]["loss"] and int8["network"] != int8["selection"]
    before = job.ledger.read_text()
    export_network(adhoc, out=tmp_path / "four", settings=more, quiet=True)
    assert job.ledger.read_text() == before


def test_int8_alone_does_not_take_the_key_of_the_network(
    job: ExportJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is it given the score of an exact form."""
    register(monkeypatch, InInt8())
    settings = ExportSettings(forms=("in-int8",), measure_forms=False)
    report = export_network(job, out=tmp_path / "int8", settings=settings, quiet=True)
    assert report["accuracy"]["test"]["form"] == "in-int8" and job.test_key not in scored(job)
    exact = ExportSettings(forms=("safetensors",), measure_forms=False)
    export_network(job, out=tmp_path / "fp32", settings=exact, quiet=True)
    assert scored(job)[1:] == [job.test_key]
    coarser = settings.model_copy(update={"num_calibration_images": 8})
    export_network(job, out=tmp_path / "other", settings=coarser, quiet=True)
    assert len(set(scored(job))) == 3  # calibrated on other images it is another file
