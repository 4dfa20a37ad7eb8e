"""The int8 form for TensorFlow Lite Micro: near the network, the same in two interpreters, and honest about both."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

pytest.importorskip("ai_edge_litert")

from latency_tables.tflite import micro as tflite_micro
from latency_tables.tflite.graph import to_tflite
from latency_tables.tflite.micro import MicroRun
from ofa.export.calibration import calibration_images
from ofa.export.export import ExportJob, export_network
from ofa.export.forms import tflm
from ofa.export.forms.base import Source
from ofa.export.forms.registry import get_form
from ofa.export.forms.tflm import TflmForm, channels_last
from ofa.export.settings import ExportSettings
from ofa.export.verify import verify_forms
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from search_spaces.plain import clone_network
from trainers.data import ImageData

SHAPE = (3, 12, 12)


class Gelus(nn.Module):
    """A convolution, a GELU in the middle and one at the end of a residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.mix = nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Conv2d(8, 8, 1)
        self.pool, self.flat, self.head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.stem(x))
        return self.head(self.flat(self.pool(self.act(y + self.mix(y)))))


def gelus() -> fx.GraphModule:
    torch.manual_seed(0)
    return fx.symbolic_trace(Gelus()).eval()


def some_images(num: int = 32) -> Tensor:
    return torch.randn(num, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer that there are no wheels of the interpreter for."""
    monkeypatch.setattr(tflm, "micro_installs_here", lambda: False)


@pytest.fixture
def written(elsewhere: None, tmp_path: Path) -> tuple[fx.GraphModule, Path]:
    network = gelus()
    TflmForm().write(Source(network, SHAPE, some_images()), tmp_path)
    return network, tmp_path


def test_it_is_near_the_network_and_other_weights_are_not(written: tuple[fx.GraphModule, Path]) -> None:
    network, folder = written
    found = verify_forms(network, some_images(), folder=folder, forms=("tflm",), tolerance=1e-9)["tflm"]
    assert found.num_images == 32 and found.num_moved <= 4
    assert found.signal_db is not None and found.signal_db > 20 and found.max_abs > 1e-9
    other = clone_network(network)
    with torch.no_grad():
        other.get_parameter("head.weight").mul_(-1)
    with pytest.raises(UserError, match=r"model_tflm\.tflite: the form 'tflm' differs from the network: \d+ of 32"):
        verify_forms(other, some_images(), folder=folder, forms=("tflm",), tolerance=1e-4)


def test_logits_that_are_all_noise_are_refused_even_in_the_right_classes(written: tuple[fx.GraphModule, Path]) -> None:
    network, folder = written

    def faint(x: Tensor) -> Tensor:
        return 0.2 * network(x)  # the form's are five times as large: every class stays

    with pytest.raises(UserError, match="0 of 32 real images"):
        verify_forms(faint, some_images(), folder=folder, forms=("tflm",), tolerance=1e-4)


def test_it_is_written_the_same_every_time_and_calibrated_on_what_it_is_given(
    written: tuple[fx.GraphModule, Path], tmp_path: Path
) -> None:
    network, folder = written
    before = file_digest(folder / TflmForm.file)
    TflmForm().write(Source(network, SHAPE, some_images()), tmp_path)
    assert file_digest(tmp_path / TflmForm.file) == before
    TflmForm().write(Source(network, SHAPE, 10 * some_images()), tmp_path)
    assert file_digest(tmp_path / TflmForm.file) != before
    for nothing in (None, some_images()[:0]):
        with pytest.raises(UserError, match=r"model_tflm\.tflite: int8 needs images to calibrate with"):
            TflmForm().write(Source(network, SHAPE, nothing), tmp_path)


def test_a_damaged_file_is_named(written: tuple[fx.GraphModule, Path]) -> None:
    network, folder = written
    path = folder / TflmForm.file
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"model_tflm\.tflite: not a TFLite model"):
        verify_forms(network, some_images(), folder=folder, forms=("tflm",), tolerance=1e-4)


def test_what_it_cannot_do_is_named(elsewhere: None, tmp_path: Path) -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            numbers = x.mean(dim=2).topk(3, dim=1)[1]
            return self.linear(x.gather(1, numbers.unsqueeze(-1).expand(-1, -1, x.size(2))))

    model = to_tflite(fx.symbolic_trace(Drops()).eval(), (7, 6))
    with pytest.raises(UserError, match=r"^topk: TensorFlow Lite Micro has no operator TOPK_V2"):
        tflite_micro.check_operators(model)
    with pytest.raises(UserError, match=r"model_tflm\.tflite: 0: torch\.nn\.Softplus cannot be converted"):
        softplus = fx.symbolic_trace(nn.Sequential(nn.Softplus()))
        TflmForm().write(Source(softplus, SHAPE, some_images()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_gelu_becomes_its_sigmoid_and_nothing_else_changes() -> None:
    network, x = gelus(), 3 * some_images()
    changed = tflite_micro.for_micro(network, SHAPE)
    assert not any(isinstance(leaf, nn.GELU) for leaf in changed.modules())
    assert any(isinstance(leaf, nn.GELU) for leaf in network.modules())
    assert (changed(x) - network(x)).abs().max() < 0.05
    z = torch.linspace(-8, 8, 1001)
    alone = tflite_micro.for_micro(fx.symbolic_trace(nn.Sequential(nn.GELU())), (1,))
    assert (alone(z) - z * torch.sigmoid(1.702 * z)).abs().max() < 1e-6
    assert (alone(z) - nn.functional.gelu(z)).abs().max() < 0.0204  # the published bound


@given(
    side=st.integers(3, 17),
    kernel=st.sampled_from([1, 2, 3, 4, 5, 7]),
    stride=st.integers(1, 4),
    depthwise=st.booleans(),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_strided_convolutions_stay_the_same(side: int, kernel: int, stride: int, depthwise: bool, bias: bool) -> None:
    conv = nn.Conv2d(4, 4, kernel, stride, kernel // 2, groups=4 if depthwise else 1, bias=bias)
    network = fx.symbolic_trace(nn.Sequential(conv, nn.BatchNorm2d(4))).eval()
    changed = tflite_micro.for_micro(network, (4, side, side))
    x = torch.randn(2, 4, side, side)
    assert torch.allclose(changed(x), network(x), atol=1e-5)
    if stride == 2 and kernel % 2:
        kinds = {operator.kind for operator in to_tflite(changed, (4, side, side)).operators}
        assert kinds <= {"CONV_2D", "DEPTHWISE_CONV_2D"}, "a map is copied"


def test_without_the_interpreter_its_package_is_named(
    written: tuple[fx.GraphModule, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tflm, "micro_installs_here", lambda: True)
    monkeypatch.setattr(tflite_micro.importlib.util, "find_spec", lambda name: None)
    network, folder = written
    source = Source(network, SHAPE, some_images())
    with pytest.raises(UserError, match=r"'tflite-micro', which is not installed.*pip install 'ofa-nas\[tflm\]'"):
        TflmForm().write(source, tmp_path)
    with pytest.raises(UserError, match=r"ofa-nas\[tflm\]"):
        TflmForm().examine(source, folder)


def test_another_result_of_the_microcontroller_is_refused(
    written: tuple[fx.GraphModule, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, folder = written
    source = Source(network, SHAPE, some_images())
    assert TflmForm().examine(source, folder) == {"micro": None}
    model = tflm._load(folder / TflmForm.file)
    right = []
    for image in channels_last(some_images(tflm.NUM_COMPARED)):
        model.set_inputs(image)
        right.append(model.call().stored_output)
    steps = np.zeros((len(right), 1, 4), np.int8)
    monkeypatch.setattr(tflm, "micro_installs_here", lambda: True)
    monkeypatch.setattr(
        tflm, "run_micro", lambda content, inputs: MicroRun((np.stack(right) ^ steps).astype(np.int8), 1000, 500, "0")
    )
    found = TflmForm().examine(source, folder)["micro"]
    assert (found["num_off_by_one"], found["num_off_by_more"], found["num_outputs"]) == (0, 0, 64)
    steps[0, 0, :3] = 1
    found = TflmForm().examine(source, folder)["micro"]
    assert (found["num_off_by_one"], found["num_off_by_more"], found["most_steps"]) == (3, 0, 1)
    steps[0, 0, 3] = 64
    with pytest.raises(UserError, match=r"model_tflm\.tflite: .*something else than LiteRT: up to 64 steps"):
        TflmForm().examine(source, folder)


def test_the_report_says_what_int8_loses(job: ExportJob, elsewhere: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    job = replace(job, read_test=False)
    report = export_network(
        job, out=out, settings=ExportSettings(forms=("safetensors", "tflm"), measure_forms=False), quiet=True
    )
    form = report["forms"]["tflm"]
    assert (out / form["file"]).stat().st_size == form["bytes"] and form["micro"] is None
    assert form["signal_db"] > 6 and form["num_moved"] <= 16
    accuracy = form["accuracy"]
    assert accuracy["network"]["accuracy"] == report["accuracy"]["selection"]["accuracy"]
    assert accuracy["selection"]["num_images"] == accuracy["network"]["num_images"] == job.data.size("selection")
    assert accuracy["test"] is None
    predict, correct = get_form("tflm").load(out), 0
    for images, labels in job.data.batches("selection", resolution=job.architecture.resolution, batch_size=50):
        correct += int((predict(images).argmax(1) == labels).sum())
    assert accuracy["selection"]["accuracy"] == pytest.approx(correct / job.data.size("selection"))
    assert set(report["forms"]["safetensors"]["accuracy"]) == {"selection", "test"}


def test_calibration_images_are_of_the_whole_split(data: ImageData) -> None:
    whole = torch.cat([images for images, _ in data.batches("calibration", resolution=20, batch_size=7)])
    assert torch.equal(calibration_images(data, resolution=20, num=1000), whole)
    some = calibration_images(data, resolution=20, num=9)
    assert torch.equal(some, whole[[round(i * (len(whole) - 1) / 8) for i in range(9)]])


def test_relu6_by_itself_keeps_the_scale() -> None:
    """TFLM clamps there and does not rescale."""
    from latency_tables.tflite.int8 import quantize

    model = to_tflite(fx.symbolic_trace(nn.Sequential(nn.ReLU6(), nn.Conv2d(3, 4, 1))).eval(), SHAPE)
    quantized = quantize(model, channels_last(10 * some_images()))
    clamp = quantized.operators[0]
    assert clamp.kind == "RELU6"
    x, y = clamp.inputs[0].quantization, clamp.outputs[0].quantization
    assert x is not None and y is not None and x.scales == y.scales and x.zero_point == y.zero_point


# -- with the interpreter itself ---------------------------------------------------------------------------------------


def test_both_interpreters_agree_and_weights_are_not_in_the_arena(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'ofa-nas[tflm]'")
    network, source = gelus(), Source(gelus(), SHAPE, some_images())
    form = TflmForm()
    form.write(source, tmp_path)
    micro = form.examine(source, tmp_path)["micro"]
    assert micro["num_outputs"] == 64 and micro["most_steps"] <= 1
    maps = 8 * 6 * 6
    assert 3 * 12 * 12 + maps <= micro["arena_head_bytes"] < 8 * maps
    wide = clone_network(network)
    wide.set_submodule("mix", nn.Sequential(nn.Conv2d(8, 512, 1), nn.Conv2d(512, 8, 1)))
    wide = fx.symbolic_trace(wide).eval()
    form.write(Source(wide, SHAPE, some_images()), tmp_path)
    head = form.examine(Source(wide, SHAPE, some_images()), tmp_path)["micro"]["arena_head_bytes"]
    assert head < 512 * 6 * 6 + 4 * maps + 4 * 512  # the map of 512 channels, and no 2 x 4096 weights


def test_a_model_that_the_interpreter_refuses_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="tflite-micro is not installed: pip install 'ofa-nas[tflm]'")
    content = to_tflite(gelus(), SHAPE).to_bytes()
    with pytest.raises(UserError, match="does not run this model: Didn't find op for builtin opcode 'GELU'"):
        tflite_micro.run_micro(content, np.zeros((1, 1, 12, 12, 3), np.int8))
    shutil.rmtree(tmp_path)
