"""The form for microcontrollers: a folder, in integers, for a board."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ofa.export.export import ExportJob, export_network
from ofa.export.forms import mcu
from ofa.export.forms.base import Folder
from ofa.export.forms.registry import get_form
from ofa.export.settings import ExportSettings
from ofa.mcu.bundle import read_manifest
from search_spaces.common.errors import UserError
from search_spaces.common.settings import parse_settings

for package in ("unicorn", "ziglang", "elftools"):
    pytest.importorskip(package)

SETTINGS = ExportSettings(
    forms=("safetensors", "mcu"), board="stm32f446", num_calibration_images=32, measure_forms=False
)


@pytest.fixture(scope="module")
def written(exported: tuple[ExportJob, Path, dict], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, dict]:
    job = replace(exported[0], devices=(), latencies=None, read_test=False)
    out = tmp_path_factory.mktemp("mcu") / "small"
    return job, out, export_network(job, out=out, settings=SETTINGS, quiet=True)


def test_the_bundle_holds_on_the_emulated_board_and_says_what_int8_costs(written: tuple[Any, Path, dict]) -> None:
    job, out, report = written
    form = report["forms"]["mcu"]
    assert isinstance(get_form("mcu"), Folder) and form["file"] == "mcu"
    assert form["verified"]["holds"] and form["verified"]["num_golden"] == 8
    assert form["needs"]["board"] == "stm32f446" and form["needs"]["arena"] == form["verified"]["arena_bytes"]
    assert {"selection", "test", "network"} == set(form["accuracy"])
    assert form["bytes"] == sum(path.stat().st_size for path in (out / "mcu").rglob("*") if path.is_file())
    facts = read_manifest(out / "mcu").facts
    assert facts["architecture"] == job.architecture.to_json() and facts["key"] == job.architecture.key
    assert json.loads((out / "report.json").read_text()) == report


def test_its_c_computes_the_golden_outputs(written: tuple[Any, Path, dict]) -> None:
    """`load` is the C on this machine: images in real numbers go in, logits come out."""
    job, out, _ = written
    images = next(iter(job.data.batches("selection", resolution=job.architecture.resolution, batch_size=8)))[0]
    logits = get_form("mcu").load(out)(images)
    manifest = read_manifest(out / "mcu")
    golden = torch.frombuffer(bytearray((out / "mcu" / "golden" / "outputs.bin").read_bytes()), dtype=torch.int8)
    expected = manifest.output.scale * (golden.reshape(8, -1).float() - manifest.output.zero)
    torch.testing.assert_close(logits, expected)


def test_a_second_export_does_nothing_and_a_damaged_one_is_made_again(written: tuple[Any, Path, dict]) -> None:
    job, out, report = written
    before = (out / "mcu" / "net.c").stat().st_mtime_ns
    assert export_network(job, out=out, settings=SETTINGS, quiet=True) == report
    assert (out / "mcu" / "net.c").stat().st_mtime_ns == before
    (out / "mcu" / "net.c").write_text("damaged")
    again = export_network(job, out=out, settings=SETTINGS, quiet=True)
    assert again == report and (out / "mcu" / "net.c").read_text() != "damaged"


def test_what_fails_leaves_no_half_bundle(
    written: tuple[Any, Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = written[0]
    yaml = "name: tiny\ntitle: Tiny\ncore: cortex-m4\nclock_mhz: 1\nsource: none\nstack: 3072\n"
    memories = "sram: {origin: 0x20000000, size: 4KiB}\nflash: {origin: 0, size: 64KiB}\n"
    (tmp_path / "tiny.yaml").write_text(yaml + memories)

    def told(settings: ExportSettings) -> dict[str, Any]:
        report = export_network(job, out=tmp_path / "small", settings=settings, quiet=True)
        names = {path.name for path in (tmp_path / "small").iterdir()}
        assert names == {"README.md", "architecture.json", "report.json", "model.safetensors"}
        failure: dict[str, Any] = report["failed"]["mcu"]
        return failure

    failure = told(SETTINGS.model_copy(update={"board": str(tmp_path / "tiny.yaml")}))
    needs = r"tiny has 4,096 bytes of SRAM, the network needs .* set by the layer '(\w+?)_\w+'.*\(operator `\1`"
    assert re.search(needs, failure["message"]) and failure["slot"] in dict(job.space.network(job.architecture))

    verify = mcu.verify_bundle
    monkeypatch.setattr(mcu, "verify_bundle", lambda folder: replace(verify(folder), wrong=(0,), num_random=0))
    assert "1 of 8 outputs are wrong" in told(SETTINGS)["message"]
    monkeypatch.setattr(mcu, "build_host", lambda *arguments: None)
    none = "the form mcu is checked by a C compiler, and there is none. pip install 'ofa-nas[mcu]'"
    assert none in told(SETTINGS)["message"]


def test_without_an_emulator_the_report_says_so(
    written: tuple[Any, Path, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, report = written
    monkeypatch.setattr(mcu, "find_spec", lambda name: None)
    found = get_form("mcu").examine(None, out)  # type: ignore[attr-defined]
    assert found["verified"] is None and found["needs"] == report["forms"]["mcu"]["needs"]


def test_a_board_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"board: the form mcu is for a board, and none is named.*stm32f746"):
        parse_settings(ExportSettings, {"forms": ["mcu"]})
    with pytest.raises(UserError, match=r"unknown board 'stm32f74'"):
        parse_settings(ExportSettings, {"forms": ["mcu"], "board": "stm32f74"})
