"""The form for Ethos-U: what Vela makes of the int8 model beside it, and what can be said of that here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("ethosu.vela", reason="ethos-u-vela is not installed: pip install 'ofa-nas[ethosu]'")

from ofa.export.forms.base import Source
from ofa.export.forms.ethos_u import INT8_FILE, EthosUForm
from ofa.export.verify import verify_forms
from search_spaces.common.errors import UserError
from tests.ofa.export.forms.test_lite_families import network_of, random_images

FORM = EthosUForm()


def test_the_model_it_was_compiled_from_is_compared(source: Source, tmp_path: Path) -> None:
    FORM.write(source, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FORM.file, INT8_FILE}
    assert source.calibration is not None
    settings = {"folder": tmp_path, "forms": ("ethos-u",), "tolerance": 1e-9}
    found = verify_forms(source.network, source.calibration, **settings)["ethos-u"]
    assert found.signal_db is not None and found.signal_db > 25 and found.num_moved <= 2
    (tmp_path / INT8_FILE).unlink()
    with pytest.raises(UserError, match=INT8_FILE):
        FORM.load(tmp_path)


def test_the_report_is_that_of_the_accelerator_that_was_named(source: Source, tmp_path: Path) -> None:
    found = {}
    for npu in ("ethos-u55-32", "ethos-u55-256"):
        chosen = replace(source, npu=npu)
        FORM.write(chosen, tmp_path)
        facts = FORM.examine(chosen, tmp_path)
        vela = facts["vela"]
        assert (vela["accelerator"], vela["npu_share"], vela["cpu_operators"]) == (npu, 1, [])
        assert facts["compiled_from"]["file"] == INT8_FILE and "not the command stream" in facts["executed"]
        assert 0 < vela["sram_bytes"] < 10_000 and 0 < vela["flash_bytes"] < 20_000
        found[npu] = vela["cycles"], (tmp_path / FORM.file).read_bytes()
        FORM.write(chosen, tmp_path)
        assert (tmp_path / FORM.file).read_bytes() == found[npu][1]
    assert found["ethos-u55-256"][0] < found["ethos-u55-32"][0]
    assert found["ethos-u55-256"][1] != found["ethos-u55-32"][1]


def test_files_that_do_not_belong_together_are_found_out(source: Source, tmp_path: Path) -> None:
    assert source.calibration is not None
    FORM.write(source, tmp_path)
    path = tmp_path / FORM.file
    right, content = path.read_bytes(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{FORM.file}: is not what Vela makes of {INT8_FILE}"):
        FORM.examine(source, tmp_path)
    FORM.write(replace(source, calibration=2 * source.calibration), tmp_path)
    path.write_bytes(right)
    with pytest.raises(UserError, match=rf"{FORM.file}: takes and gives .* and the model it was compiled from"):
        FORM.load(tmp_path)


@pytest.mark.parametrize("file", [FORM.file, INT8_FILE])
def test_a_damaged_file_is_named(file: str, source: Source, tmp_path: Path) -> None:
    FORM.write(source, tmp_path)
    path = tmp_path / file
    for content in (path.read_bytes()[: path.stat().st_size // 2], b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{file}: not a TFLite model"):
            FORM.load(tmp_path)


def test_mistakes_leave_nothing(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"export\.npu: .*Did you mean 'ethos-u55-128'"):
        FORM.write(replace(source, npu="ethos-u55-129"), tmp_path)
    with pytest.raises(UserError, match=f"{FORM.file}: int8 needs images"):
        FORM.write(replace(source, calibration=None), tmp_path)
    network, shape, _ = network_of("dropped tokens")
    message = rf"{FORM.file}: \S*topk\S*: neither the accelerator nor TensorFlow Lite Micro has the operator TOPK_V2"
    with pytest.raises(UserError, match=message):
        FORM.write(Source(network, shape, random_images(8, shape)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_the_cpu_runs_is_told(tmp_path: Path) -> None:
    network, shape, _ = network_of("linear")
    linear = Source(network, shape, random_images(8, shape))
    FORM.write(linear, tmp_path)
    facts = FORM.examine(linear, tmp_path)["vela"]
    assert set(facts["cpu_operators"]) == {"DEQUANTIZE", "DIV", "QUANTIZE"} and 0.5 < facts["npu_share"] < 1
    assert torch.isfinite(FORM.load(tmp_path)(random_images(2, shape))).all()
