"""The file of plain PyTorch: the same network with nothing of this project, readable, and a model of timm's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.fx import GraphModule, symbolic_trace

from ofa.export.architecture_file import FILE
from ofa.export.export import ExportJob
from ofa.export.forms.base import Form, Source
from ofa.export.forms.registry import get_form
from ofa.export.forms.timm import CODE, CONFIG, WEIGHTS, TimmForm
from ofa.export.torch_code.file import Description, model_file
from search_spaces.common.errors import UserError


@pytest.fixture(scope="module")
def folder(exported: tuple[ExportJob, Path, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `architecture.json`, as in an export."""
    job, other, _ = exported
    folder = tmp_path_factory.mktemp("export")
    shutil.copy(other / FILE, folder)
    TimmForm().write(Source(job.network.eval(), job.input_shape), folder)
    return folder


@pytest.fixture(scope="module")
def images(exported: tuple[ExportJob, Path, dict]) -> Tensor:
    return torch.randn(3, *exported[0].input_shape, generator=torch.Generator().manual_seed(0))


def run(program: str, folder: Path) -> str:
    """What a Python prints that knows nothing of this project, in the export folder."""
    command = [sys.executable, "-I", "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def executed(text: str) -> dict[str, Any]:
    """What a file defines, where timm is not installed."""
    found: dict[str, Any] = {"__name__": "net", "__file__": "net.py"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "timm.models", None)
        exec(compile(text, "net.py", "exec"), found)
    return found


def test_the_network_comes_back(folder: Path, network: GraphModule, images: Tensor) -> None:
    assert isinstance(TimmForm(), Form) and sorted(path.name for path in (folder / "timm").iterdir()) == [
        CONFIG,
        CODE,
        WEIGHTS,
    ]
    predict = TimmForm().load(folder)
    with torch.no_grad():
        assert torch.equal(predict(images), network(images))
    weights = load_file(folder / "timm" / WEIGHTS)
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        name: tensor.tolist() for name, tensor in network.state_dict().items()
    }


def test_what_the_file_is_not(folder: Path) -> None:
    text = (folder / "timm" / CODE).read_text()
    assert not any(word in text for word in ("search_spaces", "latency_tables", "import ofa", "getattr", " eval("))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 120 and not any(line != line.rstrip() for line in lines)


def test_blocks_of_the_same_layers_share_a_class(folder: Path, network: GraphModule) -> None:
    text = (folder / "timm" / CODE).read_text()
    blocks = {name for name, _ in network.named_children()}
    assert text.count("(nn.Module):") < len(blocks) + 2  # with those of squeeze-and-excitation and the network
    for kind in ("ConvNormAct", "MBConv", "Classifier", "Network"):
        assert f"class {kind}(nn.Module):" in text


def test_bytes_are_the_same_every_time(folder: Path, network: GraphModule, images: Tensor, tmp_path: Path) -> None:
    shutil.copy(folder / FILE, tmp_path)
    TimmForm().write(Source(network, tuple(images.shape[1:])), tmp_path)  # type: ignore[arg-type]
    for name in (CODE, WEIGHTS, CONFIG):
        assert (tmp_path / "timm" / name).read_bytes() == (folder / "timm" / name).read_bytes(), name
    assert TimmForm().digest(tmp_path) == TimmForm().digest(folder)
    assert TimmForm().num_bytes(folder) == sum(path.stat().st_size for path in (folder / "timm").iterdir())


@pytest.mark.parametrize("name", [CODE, WEIGHTS])
def test_a_changed_file_is_named_and_not_executed(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "timm" / name
    path.write_bytes(path.read_bytes() + b"\nraise RuntimeError('executed')\n")
    with pytest.raises(UserError, match=rf"{name}: is not what was written"):
        TimmForm().load(tmp_path / "copy")


def test_loading_leaves_timm_alone(folder: Path) -> None:
    before = sys.modules.get("timm.models")
    TimmForm().load(folder)
    assert sys.modules.get("timm.models") is before
    if before is not None:
        assert not before.list_models("ofa_*")
    assert not (folder / "timm" / "__pycache__").exists()


def test_the_preprocessing_is_that_of_the_export(folder: Path, exported: tuple[ExportJob, Path, dict]) -> None:
    job = exported[0]
    said = json.loads((folder / "timm" / CONFIG).read_text())
    assert said["architecture"] == f"ofa_mobilenet_v3_digits_{job.architecture.key}" and said["num_classes"] == 4
    assert said["label_names"] == list(job.data.class_names)
    config = said["pretrained_cfg"]
    assert config["input_size"] == list(job.input_shape) and config["interpolation"] == "bilinear"
    assert config["mean"] == list(job.data.mean) and config["std"] == list(job.data.std) and config["crop_pct"] == 1.0


def test_without_an_architecture_file_images_come_as_they_are(network: GraphModule, tmp_path: Path) -> None:
    TimmForm().write(Source(network.eval(), (3, 20, 20)), tmp_path)
    config = json.loads((tmp_path / "timm" / CONFIG).read_text())["pretrained_cfg"]
    assert config["mean"] == [0.0] * 3 and config["std"] == [1.0] * 3


class Skipping(nn.Module):
    """What one block gives, another one than the next takes too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.third(self.second(y)) + y


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softplus()), r"1: torch\.nn\.Softplus cannot be written as code"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), "1: the last layer is no linear one"),
        (nn.Sequential(nn.Linear(8, 4)), "0: no convolution comes first"),
        (Skipping(), "third: takes or gives more than one value"),
    ],
)
def test_what_cannot_be_written_is_named(network: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"timm/model\.py: {message}"):
        TimmForm().write(Source(symbolic_trace(network).eval(), (3, 8, 8)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_classes_may_be_asked_for(network: GraphModule, images: Tensor) -> None:
    """What timm's users do to train it on: other classes, other channels, none at all, features."""
    text = model_file(network, Description("net", "A network.", (3, 20, 20), (0.0,) * 3, (1.0,) * 3))
    found = executed(text)
    made = found["Network"](num_classes=7, in_chans=1, drop_rate=0.3).eval()
    assert made(images[:, :1]).shape == (3, 7) and made.num_classes == 7
    assert {leaf.p for leaf in made.modules() if isinstance(leaf, nn.Dropout)} == {0.3}
    features = made.forward_features(images[:, :1])
    assert features.shape[1] == made.num_features and features.ndim == 4
    before_logits = made.forward_head(features, pre_logits=True)
    assert before_logits.shape == (3, made.head_hidden_size)
    made.reset_classifier(0)
    assert torch.equal(made(images[:, :1]), before_logits)


def test_the_code_trains(folder: Path, images: Tensor) -> None:
    """Gradients reach every weight, and batch norms take their statistics."""
    made = executed((folder / "timm" / CODE).read_text())["Network"]().train()
    made(images).square().sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())
    assert {int(value) for name, value in made.state_dict().items() if name.endswith("num_batches_tracked")} == {1}


@pytest.mark.slow
def test_the_usage_runs_with_torch_and_safetensors_alone(folder: Path, network: GraphModule, images: Tensor) -> None:
    form = get_form("timm")
    assert form.requires == ("torch", "safetensors")
    np.save(folder / "image.npy", images[:1].numpy())
    program = f"{form.usage}\nnp.save('logits.npy', logits(np.load('image.npy')))\n"
    run(f"{program}import sys\nassert 'ofa' not in sys.modules", folder)
    with torch.no_grad():
        expected = network(images[:1])[0].numpy()
    np.testing.assert_allclose(np.load(folder / "logits.npy"), expected, atol=1e-5)
    for name in ("image.npy", "logits.npy"):
        (folder / name).unlink()


@pytest.mark.slow
def test_timm_has_it(folder: Path) -> None:
    """By its name with weights, with another head, from `local-dir:`, and saved and read again by timm itself."""
    program = """
import sys, tempfile
sys.path.insert(0, "timm")
import timm, torch, model
x = torch.randn(2, 3, 20, 20)
plain = model.create_model().eval()
assert timm.list_models("ofa_*", pretrained=True) == [model.NAME]
net = timm.create_model(model.NAME, pretrained=True).eval()
local = timm.create_model("local-dir:timm", pretrained=True).eval()
with torch.no_grad():
    assert torch.equal(net(x), plain(x)) and torch.equal(local(x), plain(x))
other = timm.create_model(model.NAME, pretrained=True, num_classes=7, in_chans=1)
assert other(x[:, :1]).shape == (2, 7)
stem = "stage1_block1.depth_conv.weight"
assert torch.equal(other.state_dict()[stem], plain.state_dict()[stem])
config = timm.data.resolve_model_data_config(net)
assert tuple(config["input_size"]) == (3, 20, 20) and config["interpolation"] == "bilinear"
with torch.no_grad():
    net.get_classifier().bias += 1
place = tempfile.mkdtemp()
timm.models.save_for_hf(net, place, safe_serialization=True)
with torch.no_grad():
    assert torch.equal(timm.create_model("local-dir:" + place, pretrained=True).eval()(x), net(x))
print("all")
"""
    assert run(program, folder).strip() == "all"
