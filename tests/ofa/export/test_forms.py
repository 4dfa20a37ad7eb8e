"""Every registered form: the same function as the network, whatever the batch; and what verification finds out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from ofa.export.architecture_file import FILE, Preprocessing, read_architecture_file
from ofa.export.export import ExportJob
from ofa.export.forms.base import Form, Source
from ofa.export.forms.registry import FORMS, get_form
from ofa.export.settings import ExportSettings
from ofa.export.verify import verify_forms
from search_spaces import Architecture, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from search_spaces.common.settings import parse_settings
from search_spaces.plain import clone_network
from trainers.data import ImageData

#: forms that compute just what the network does, and need no extra; all others have tests of their own
ALL = ExportSettings().forms
#: these, and others that are compared in files of their own
EXACT = {*ALL, "tflite", "executorch"}


@pytest.fixture(scope="module")
def images(data: ImageData, architecture: Architecture) -> Tensor:
    return next(iter(data.batches("selection", resolution=architecture.resolution, batch_size=64)))[0]


@pytest.fixture(scope="module")
def folder(exported: tuple[ExportJob, Path, dict]) -> Path:
    return exported[1]


def write_form(name: str, network: GraphModule, folder: Path, side: int) -> None:
    get_form(name).write(Source(network.eval(), (3, side, side)), folder)


@pytest.mark.parametrize("name", FORMS.names())
def test_a_form_says_whether_it_is_exact(name: str) -> None:
    try:
        form = get_form(name)
    except UserError as error:
        pytest.skip(str(error))
    assert isinstance(form, Form) and form.exact == (name in EXACT)


@pytest.mark.parametrize("name", ALL)
def test_a_form_computes_what_the_network_does(name: str, folder: Path, network: GraphModule, images: Tensor) -> None:
    found = verify_forms(network, images, folder=folder, forms=(name,), tolerance=1e-4)
    assert found[name].num_images == 64 and found[name].max_abs <= 1e-4


@pytest.mark.parametrize("name", ALL)
def test_other_weights_are_found_out(
    name: str, folder: Path, network: GraphModule, images: Tensor, tmp_path: Path
) -> None:
    changed = clone_network(network)
    with torch.no_grad():
        changed.get_parameter("classifier.linear.bias")[0] += 1e-2
    shutil.copytree(folder, tmp_path / "copy")
    write_form(name, changed, tmp_path / "copy", images.shape[-1])
    with pytest.raises(UserError, match=rf"form '{name}' differs from the network by 0\.01"):
        verify_forms(network, images, folder=tmp_path / "copy", forms=ALL, tolerance=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_a_damaged_file_is_named(name: str, folder: Path, network: GraphModule, images: Tensor, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / get_form(name).file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=path.name):
        verify_forms(network, images, folder=tmp_path / "copy", forms=(name,), tolerance=1e-4)


def test_another_class_is_an_error_even_within_the_tolerance(
    network: GraphModule, images: Tensor, folder: Path
) -> None:
    def almost(x: Tensor) -> Tensor:
        logits = network(x).clone()
        top = logits.topk(2, dim=1)
        logits.scatter_(1, top.indices, top.values.flip(1))  # swaps the two most likely classes
        return logits

    with pytest.raises(UserError, match="another class"):
        verify_forms(almost, images, folder=folder, forms=("safetensors",), tolerance=1e3)


@pytest.mark.parametrize("num", [4, 5])
def test_where_rounding_may_decide_a_few_images_may_differ(
    num: int, network: GraphModule, images: Tensor, folder: Path
) -> None:
    def with_ties(x: Tensor) -> Tensor:
        logits = network(x).clone()
        logits[:num] += 0.5
        return logits

    settings: dict[str, Any] = {"folder": folder, "forms": ("safetensors",), "tolerance": 1e-4}
    if num <= 64 // 16:
        found = verify_forms(with_ties, images, ties=True, **settings)["safetensors"]
        assert (found.num_ties, found.num_images) == (num, 64) and found.max_abs <= 1e-4
    with pytest.raises(UserError, match="differs from the network by"):
        verify_forms(with_ties, images, ties=num > 64 // 16, **settings)


def test_outputs_that_are_not_finite_are_an_error(
    network: GraphModule, images: Tensor, folder: Path, tmp_path: Path
) -> None:
    broken = clone_network(network)
    with torch.no_grad():
        broken.get_parameter("classifier.linear.bias")[0] = float("nan")
    shutil.copytree(folder, tmp_path / "copy")
    write_form("safetensors", broken, tmp_path / "copy", images.shape[-1])
    with pytest.raises(UserError, match="not finite"):
        verify_forms(network, images, folder=tmp_path / "copy", forms=("safetensors",), tolerance=1e-4)


def test_the_onnx_graph_is_folded_named_and_open_in_the_batch(folder: Path) -> None:
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds and model.opset_import[0].version == 20
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["logits"]
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
    assert not any(tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Softplus(), r"model\.onnx: \S+: torch\.nn\.Softplus cannot be converted to ONNX"),
        (nn.BatchNorm2d(3), r"model\.onnx: a batch norm could not be folded"),
    ],
)
def test_what_the_onnx_form_cannot_write_is_named(layer: nn.Module, message: str, tmp_path: Path) -> None:
    network = symbolic_trace(nn.Sequential(layer, nn.Conv2d(3, 4, 1)))
    with pytest.raises(UserError, match=message):
        write_form("onnx", network, tmp_path, 8)
    assert list(tmp_path.iterdir()) == []


def test_files_are_the_same_every_time(folder: Path, network: GraphModule, images: Tensor, tmp_path: Path) -> None:
    for name in ALL:
        write_form(name, network, tmp_path, images.shape[-1])
        file = get_form(name).file
        assert file_digest(tmp_path / file) == file_digest(folder / file), name


def test_the_architecture_file_says_all(exported: tuple[ExportJob, Path, dict]) -> None:
    job, folder, _ = exported
    found = read_architecture_file(folder / FILE)
    assert found.architecture == job.architecture and found.space.fingerprint == job.space.fingerprint
    assert found.preprocessing == Preprocessing(job.architecture.resolution, 3, job.data.mean, job.data.std)
    assert found.class_names == job.data.class_names


def test_the_architecture_of_another_space_is_refused(folder: Path, tmp_path: Path) -> None:
    text = (folder / FILE).read_text()
    other = get_space({"name": "mobilenet_v3_digits", "resolution": [28]}, num_classes=4, in_channels=3)
    import json

    data = json.loads(text)
    (tmp_path / FILE).write_text(json.dumps({**data, "space": other.description}))
    with pytest.raises(UserError, match=FILE):
        read_architecture_file(tmp_path / FILE)
    (tmp_path / FILE).write_text(json.dumps({**data, "schema": 9}))
    with pytest.raises(UserError, match="schema"):
        read_architecture_file(tmp_path / FILE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forms": ["onxx"]}, "Did you mean 'onnx'"),
        ({"forms": []}, "forms"),
        ({"forms": ["onnx", "onnx"]}, "twice"),
        ({"num_images": 8}, "num_images"),
        ({"tolerance": 0}, "tolerance"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_settings(ExportSettings, settings)
