"""The forms for LiteRT: an app takes the one file for the other, and both compute what the network does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed: pip install 'ofa-nas[litert]'")

from ai_edge_litert.interpreter import Interpreter

from latency_tables.tflite.interpreter import LoadedModel
from ofa.export.forms.base import Examined, Source, Timed
from ofa.export.forms.registry import get_form
from ofa.export.forms.tflite_int8 import TfliteInt8Form
from ofa.export.verify import verify_forms
from search_spaces.common.errors import UserError
from search_spaces.plain import clone_network
from tests.ofa.export.forms.snippets import run_usage

FORMS = ("tflite", "tflite-int8")


def calibration(source: Source) -> Tensor:
    assert source.calibration is not None
    return source.calibration


@pytest.mark.parametrize("name", FORMS)
def test_it_computes_what_the_network_does_and_other_weights_are_found_out(
    name: str, source: Source, tmp_path: Path
) -> None:
    images, form = calibration(source), get_form(name)
    form.write(source, tmp_path)
    found = verify_forms(source.network, images, folder=tmp_path, forms=(name,), tolerance=1e-5)[name]
    assert found.num_images == 32
    if not form.exact:
        assert found.signal_db is not None and found.signal_db > 25 and found.num_moved <= 2
    other = clone_network(source.network)
    with torch.no_grad():
        other.get_parameter("head.weight").mul_(-1)
    with pytest.raises(UserError, match=f"{form.file}: the form '{name}' differs from the network"):
        verify_forms(other, images, folder=tmp_path, forms=(name,), tolerance=1e-5)


@pytest.mark.parametrize("name", FORMS)
def test_an_app_takes_the_one_file_for_the_other(name: str, source: Source, tmp_path: Path) -> None:
    form = get_form(name)
    form.write(source, tmp_path)
    runner = Interpreter(str(tmp_path / form.file)).get_signature_runner("serving_default")
    for details, side, shape in (
        (runner.get_input_details(), "image", [1, 12, 12, 3]),
        (runner.get_output_details(), "logits", [1, 4]),
    ):
        assert list(details) == [side]
        assert details[side]["shape"].tolist() == shape and details[side]["dtype"] == np.float32


@pytest.mark.parametrize("name", FORMS)
def test_files_are_the_same_every_time(name: str, source: Source, tmp_path: Path) -> None:
    form, contents = get_form(name), []
    for _ in range(2):
        form.write(source, tmp_path)
        contents.append((tmp_path / form.file).read_bytes())
    assert contents[0] == contents[1]
    form.write(replace(source, calibration=10 * calibration(source)), tmp_path)
    assert (contents[0] == (tmp_path / form.file).read_bytes()) == form.exact, "not calibrated on what it was given"


def test_the_snippet_gives_what_was_verified(source: Source, tmp_path: Path) -> None:
    images = calibration(source)[:3]
    for name in FORMS:
        form = get_form(name)
        form.write(source, tmp_path)
        found = run_usage(form.usage, images.numpy(), tmp_path)
        assert found.dtype == np.float32 and found.shape == (3, 4)
        np.testing.assert_allclose(found, form.load(tmp_path)(images).numpy(), atol=1e-6)


@pytest.mark.parametrize("name", FORMS)
def test_a_call_is_one_inference_of_an_image(name: str, source: Source, tmp_path: Path) -> None:
    form = get_form(name)
    form.write(source, tmp_path)
    assert isinstance(form, Timed)
    model = form.prepare(tmp_path, source.input_shape, threads=1)()
    assert isinstance(model, LoadedModel) and model.output().shape == (1, 4)
    with pytest.raises(UserError, match=form.file):
        form.prepare(tmp_path, (3, 16, 16), threads=1)


@pytest.mark.parametrize("name", FORMS)
def test_what_it_cannot_do_is_named_and_nothing_is_left(name: str, source: Source, tmp_path: Path) -> None:
    form = get_form(name)
    softplus = fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softplus())).eval()
    with pytest.raises(UserError, match=rf"^{form.file}: 1: torch\.nn\.Softplus cannot be converted to TFLite"):
        form.write(replace(source, network=softplus), tmp_path)
    for nothing in (None, calibration(source)[:0]):
        if not form.exact:
            with pytest.raises(UserError, match=rf"^{form.file}: int8 needs images to calibrate with"):
                form.write(replace(source, calibration=nothing), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMS)
def test_a_damaged_file_is_named(name: str, source: Source, tmp_path: Path) -> None:
    form = get_form(name)
    form.write(source, tmp_path)
    path = tmp_path / form.file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"{form.file}: not a TFLite model that LiteRT can load"):
        form.load(tmp_path)


def test_the_report_says_what_runs_how(source: Source, tmp_path: Path) -> None:
    for name in FORMS:
        get_form(name).write(source, tmp_path)
    plain, int8 = (form for name in FORMS if isinstance(form := get_form(name), Examined))
    assert plain.examine(source, tmp_path) == {"outside_xnnpack": []}
    facts = int8.examine(source, tmp_path)
    assert facts["quantization"]["num_images"] == 32 and facts["quantization"]["ends"] == "float32"
    assert facts["float_operators"] == {} and set(facts["outside_xnnpack"]) == {"GELU", "HARD_SWISH"}


def test_divisions_stay_in_float_and_are_told(source: Source, tmp_path: Path) -> None:
    class Ratio(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Sigmoid()

        def forward(self, x: Tensor) -> Tensor:
            return (self.first(x) / (self.act(self.second(x)) + 1)).mean(dim=(2, 3))

    network = fx.symbolic_trace(Ratio()).eval()
    divided = replace(source, network=network)
    form = TfliteInt8Form()
    form.write(divided, tmp_path)
    assert form.examine(divided, tmp_path)["float_operators"] == {"DIV": 1}
    images = calibration(source)
    with torch.inference_mode():
        assert (form.load(tmp_path)(images) - network(images)).abs().max() < 0.05


@pytest.mark.parametrize(
    ("name", "extra"),
    [(name, "litert") for name in FORMS]
    + [(name, "executorch") for name in ("executorch", "executorch-int8")]
    + [("ethos-u", "ethosu")],
)
def test_what_is_missing_is_told_with_what_brings_it(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"ofa.export.forms.{name.replace('-', '_')}", None)
    with pytest.raises(UserError, match=rf"not installed.*pip install 'ofa-nas\[{extra}\]'"):
        get_form(name)
