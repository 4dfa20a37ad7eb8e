"""The latency of files: who is measured, what a busy machine does, and that nothing is measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from ofa.export import time_forms as timing
from ofa.export.export import ExportJob
from ofa.export.forms.base import Timed
from ofa.export.forms.registry import get_form
from ofa.export.time_forms import HERE, time_forms
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_lines
from tests.ofa.export.fakes import Honest, register

QUICK = HERE.model_copy(update={"max_other_load": None, "rounds": 2, "min_rounds": 2, "sample_ms": 0.1, "pin": False})


class Refused(Honest):
    name = "refused"

    def prepare(self, folder: Path, input_shape: tuple[int, int, int], *, threads: int) -> Any:
        raise RuntimeError("no kernel for this processor\n...")


@pytest.fixture
def digests(exported: tuple[ExportJob, Path, dict], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    register(monkeypatch, Honest(), Refused())
    return {name: form["sha256"] for name, form in exported[2]["forms"].items()} | {"honest": "0", "refused": "1"}


def test_all_files_that_run_here_are_measured_once(
    digests: dict[str, str], exported: tuple[ExportJob, Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder, _ = exported
    arguments: dict[str, Any] = {"input_shape": job.input_shape, "device": QUICK, "journal": tmp_path / "journal"}
    found = time_forms(digests, folder, **arguments)
    assert found["honest"] is None  # for another machine
    refused = found["refused"]
    assert refused and "median_ms" not in refused and "no kernel for this processor" in refused["not_measured"]
    for name in ("safetensors", "pt2", "onnx"):
        times = found[name]
        assert times and 0 < times["p10_ms"] <= times["median_ms"] <= times["p90_ms"]
        assert 2 <= times["count"] <= 6, "more than two rounds only where disturbed"
        assert times["threads"] == 1 and "not_measured" not in times
    assert len(read_lines(tmp_path / "journal", "journal")) == 3
    with monkeypatch.context() as patch:
        patch.setattr(timing, "measure_calls", lambda *arguments: pytest.fail("measured again"))
        assert time_forms(digests, folder, **arguments) == found
    other = {**digests, "onnx": "another file"}
    measured: list[int] = []
    monkeypatch.setattr(timing, "measure_calls", lambda prepare, num, device: measured.append(num) or [])
    with pytest.raises(ValueError, match="zip"):
        time_forms(other, folder, **arguments)
    assert measured == [1]


def test_a_busy_machine_is_an_answer(
    digests: dict[str, str], exported: tuple[ExportJob, Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise UserError("other processes keep 2.0 of 2 cores busy", key="max_other_load", value=0.1)

    monkeypatch.setattr(timing, "measure_calls", busy)
    job, folder, _ = exported
    found = time_forms(
        {"onnx": digests["onnx"]}, folder, input_shape=job.input_shape, device=QUICK, journal=tmp_path / "journal"
    )
    assert found["onnx"] == {"not_measured": "machine busy", "threads": 1}
    assert not (tmp_path / "journal").exists() and json.dumps(found)


@pytest.mark.parametrize("name", ["safetensors", "pt2", "onnx"])
def test_a_call_is_one_inference_of_one_image(
    name: str, exported: tuple[ExportJob, Path, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder, _ = exported
    form = get_form(name)
    assert isinstance(form, Timed)
    found = form.prepare(folder, job.input_shape, threads=1)()
    if name == "onnx":
        found = found.copy_outputs_to_cpu()[0]  # type: ignore[attr-defined]
    assert isinstance(found, Tensor) or name == "onnx"
    assert tuple(found.shape) == (1, 4)  # type: ignore[attr-defined]
