"""The ONNX forms that lose precision: near the network on real images, in and out as `onnx`, the same every time."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from latency_tables.onnx.int8 import to_onnx_int8
from ofa.export.calibration import calibration_images
from ofa.export.forms.base import Form, Source, Timed
from ofa.export.forms.registry import get_form
from search_spaces import Architecture
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from search_spaces.plain import clone_network
from trainers.data import ImageData

FORMS = ("onnx-int8", "onnx-fp16")


@pytest.fixture(scope="module")
def source(network: GraphModule, architecture: Architecture, data: ImageData) -> Source:
    """Of fresh weights, with statistics of its own, and logits as far apart as those of trained networks."""
    side = architecture.resolution
    scaled = clone_network(network)
    with torch.no_grad():
        scaled.get_parameter("classifier.linear.weight").mul_(50)
    return Source(scaled.eval(), (3, side, side), calibration_images(data, resolution=side, num=64))


@pytest.fixture(scope="module")
def images(data: ImageData, architecture: Architecture) -> Tensor:
    return next(iter(data.batches("selection", resolution=architecture.resolution, batch_size=64)))[0]


@pytest.fixture(scope="module")
def folder(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms")
    for name in FORMS:
        get_form(name).write(source, folder)
    return folder


def signal_db(expected: Tensor, found: Tensor) -> float:
    power = (expected - expected.mean(dim=1, keepdim=True)).square().mean()
    return float(10 * torch.log10(power / (expected - found).square().mean()))


@pytest.mark.parametrize(("name", "least_db"), [("onnx-int8", 12), ("onnx-fp16", 50)])
def test_a_form_is_near_the_network_whatever_the_batch(
    name: str, least_db: float, folder: Path, source: Source, images: Tensor
) -> None:
    predict = get_form(name).load(folder)
    with torch.no_grad():
        expected = source.network(images)
    found = torch.cat([predict(images[:1]), predict(images[1:3]), predict(images[3:])])
    assert found.dtype == torch.float32 and signal_db(expected, found) > least_db
    assert not torch.allclose(found, expected, atol=1e-5), "nothing was rounded"


@pytest.mark.parametrize("name", FORMS)
def test_a_file_takes_the_place_of_the_float32_one(name: str, folder: Path) -> None:
    model = onnx.load(folder / get_form(name).file)
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    assert [value.name for value in ends] == ["image", "logits"] and model.opset_import[0].version == 20
    for value in ends:
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"


@pytest.mark.parametrize("name", FORMS)
def test_files_are_the_same_every_time(name: str, folder: Path, source: Source, tmp_path: Path) -> None:
    form = get_form(name)
    form.write(source, tmp_path)
    assert file_digest(tmp_path / form.file) == file_digest(folder / form.file)


@pytest.mark.parametrize("name", FORMS)
def test_an_operator_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    network = symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softplus()))
    with pytest.raises(UserError, match=r"model_\w+\.onnx: 1: torch\.nn\.Softplus cannot be converted"):
        get_form(name).write(Source(network.eval(), (3, 8, 8), torch.randn(2, 3, 8, 8)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMS)
def test_the_usage_runs_with_onnx_runtime_alone(name: str, folder: Path, source: Source, images: Tensor) -> None:
    form = get_form(name)
    assert form.requires == ("onnxruntime",)
    np.save(folder / "image.npy", images[:1].numpy())
    program = f"{form.usage}\nimport sys\nassert 'torch' not in sys.modules and 'ofa' not in sys.modules\n"
    program += 'np.save("logits.npy", logits(np.load("image.npy")))\n'
    subprocess.run([sys.executable, "-I", "-c", program], cwd=folder, check=True)
    found = torch.from_numpy(np.load(folder / "logits.npy"))
    assert found.dtype == torch.float32 and torch.equal(found, form.load(folder)(images[:1])[0])


@pytest.mark.parametrize("name", FORMS)
def test_what_is_timed_is_one_inference(name: str, folder: Path, source: Source) -> None:
    form = get_form(name)
    assert isinstance(form, Form) and isinstance(form, Timed)
    call = form.prepare(folder, source.input_shape, threads=1)
    binding = call()
    assert binding.get_outputs()[0].shape() == [1, 4]  # type: ignore[attr-defined]


def test_int8_computes_as_what_is_measured(folder: Path, source: Source) -> None:
    assert source.calibration is not None
    measured = to_onnx_int8(source.network, source.input_shape, [source.calibration[:1].numpy()])
    exported = onnx.load(folder / "model_int8.onnx")

    def kinds(model: onnx.ModelProto) -> Counter[str]:
        return Counter(node.op_type for node in model.graph.node)

    more = kinds(exported)
    more.subtract(kinds(measured))
    # the image is converted inside, and the last product is not converted
    assert {kind for kind, num in more.items() if num} <= {"QuantizeLinear", "DequantizeLinear"}


def test_logits_in_int8_are_no_steps(folder: Path, images: Tensor) -> None:
    """A logit in 256 steps over the range of all makes ties of close classes."""
    logits = get_form("onnx-int8").load(folder)(images).numpy().ravel()
    assert len(np.unique(logits)) > 0.9 * len(logits)


def test_int8_without_images_is_refused(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model_int8\.onnx: int8 needs images to calibrate with"):
        get_form("onnx-int8").write(Source(source.network, source.input_shape), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_int8_says_how_much_of_it_is(folder: Path, source: Source) -> None:
    from ofa.export.forms.onnx_int8 import OnnxInt8Form

    facts = OnnxInt8Form().examine(source, folder)
    matrices = sum(leaf.weight.numel() for leaf in source.network.modules() if isinstance(leaf, nn.Conv2d | nn.Linear))
    assert facts["num_weights_int8"] == matrices and 0 < facts["num_weights_other"] < matrices / 4


def test_fp16_weights_are_half_as_large_and_beyond_its_numbers_refused(
    folder: Path, source: Source, tmp_path: Path
) -> None:
    model = onnx.load(folder / "model_fp16.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert onnx.TensorProto.FLOAT not in kinds and onnx.TensorProto.FLOAT16 in kinds
    broken = clone_network(source.network)
    with torch.no_grad():
        broken.get_parameter("classifier.linear.bias")[0] = 7e4
    with pytest.raises(UserError, match=r"model_fp16\.onnx: classifier\.linear\.bias: a weight is beyond 65504"):
        get_form("onnx-fp16").write(Source(broken.eval(), source.input_shape), tmp_path)
    assert list(tmp_path.iterdir()) == []
