"""Published weights as a start: where shapes match, the largest subnet computes what the published network computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models.resnet import Bottleneck, ResNet
from torch import nn

from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.common.files import read_json, read_lines
from search_spaces.supernet import Supernet, build_supernet
from trainers import training
from trainers.settings.train import TrainingConfig
from trainers.start.pretrained import StartReport, load_pretrained
from trainers.training import check_same_training, train

MakeConfig = Callable[..., TrainingConfig]
LITE0 = {"name": "efficientnet_lite0", "resolution": [64]}


def published(network: nn.Module, folder: Path, *, name: str = "weights.pth") -> Path:
    """Random weights, norms and statistics of `network`, as a file."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.1)
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    network.eval()
    if name.endswith(".safetensors"):
        save_file(network.state_dict(), folder / name)
    else:
        torch.save(network.state_dict(), folder / name)
    return folder / name


def loaded(settings: dict[str, Any], file: Path) -> tuple[Supernet, StartReport]:
    supernet = build_supernet(get_space(settings), seed=0).eval()
    return supernet, load_pretrained(supernet, file)


def largest(space: SearchSpace) -> Architecture:
    return space.decode(space.largest())[0]


@torch.no_grad()
def check_same_outputs(supernet: Supernet, architecture: Architecture, network: nn.Module) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    assert (supernet(x, architecture) - expected).abs().max() < 1e-4 * expected.abs().max()


def lite0() -> nn.Module:
    network: nn.Module = timm.create_model("efficientnet_lite0", pretrained=False, bn_eps=1e-3)  # our norms' epsilon
    return network


def v3(source: str) -> nn.Module:
    network: nn.Module
    if source == "timm":
        network = timm.create_model("mobilenetv3_large_100", pretrained=False)
        bias = network.conv_head.bias
    else:
        network = torchvision.models.mobilenet_v3_large()
        bias = network.classifier[0].bias
    nn.init.zeros_(bias)  # our 1x1 convolution there has none
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-5
    return network


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_efficientnet_lite0_is_the_largest_subnet(tmp_path: Path, name: str) -> None:
    network = lite0()
    supernet, report = loaded(LITE0, published(network, tmp_path, name=name))
    check_same_outputs(supernet, largest(supernet.space), network)
    assert not report.fresh and not report.unused
    assert set(report.partial) == {  # 3x3 kernels of the file in the middle of 5x5 ones
        f"stage{stage}_block{block}.depth_conv.weight"
        for stage, block in ((1, 1), (1, 2), (3, 1), (3, 2), (3, 3), (6, 1))
    }
    assert report.params["loaded"] == sum(p.numel() for p in network.parameters())
    assert report.params.total() == sum(p.numel() for n, p in supernet.named_parameters() if "transform" not in n)


def test_the_kernels_that_the_file_has_are_exact_too(tmp_path: Path) -> None:
    """With identity transformations a 3x3 choice is the 3x3 kernel of the file itself."""
    network = lite0()
    supernet, _ = loaded(LITE0, published(network, tmp_path))
    values = dict(largest(supernet.space).values)
    values["kernel"] = (3, 3, *values["kernel"][2:4], 3, 3, 3, *values["kernel"][7:14], 3)  # type: ignore[index]
    check_same_outputs(supernet, Architecture(values), network)


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_a_larger_space_computes_the_same(tmp_path: Path, source: str) -> None:
    """MobileNetV3 in OFA's space, whose blocks are wider, stages deeper and kernels larger."""
    network = v3(source)
    supernet, report = loaded({"name": "ofa_mobilenet_v3", "resolution": [64]}, published(network, tmp_path))
    check_same_outputs(supernet, largest(supernet.space), network)
    assert all(name.startswith("stage") for name in report.fresh) and report.params["zeroed"] > 0
    assert {name.split(".")[0] for name in report.fresh} == {
        f"stage{stage}_block{block}" for stage, depth in enumerate((2, 3, 4, 2, 3), 1) for block in range(depth + 1, 5)
    }


def test_important_channels_come_first(tmp_path: Path) -> None:
    supernet, _ = loaded(LITE0, published(lite0(), tmp_path))
    weight = supernet.slots["stage3_block2"].project_conv.weight  # type: ignore[union-attr]
    importance = weight.abs().sum((0, 2, 3))  # type: ignore[operator,union-attr]
    assert bool((importance[:-1] >= importance[1:]).all())


def test_a_narrower_space_takes_the_first_channels(tmp_path: Path) -> None:
    network = lite0()
    supernet, report = loaded({**LITE0, "width_mult": 0.5, "expand": [6]}, published(network, tmp_path))
    stem = supernet.slots["stem"].conv.weight  # type: ignore[union-attr]
    assert torch.equal(stem, network.conv_stem.weight[:16])  # type: ignore[arg-type,index,union-attr]
    assert report.tensors["partial"] > report.tensors["loaded"]


@torch.no_grad()
def test_resnet_d_after_its_stem(tmp_path: Path) -> None:
    """Blocks and classifier are the published ones; of the stem only what both have."""
    network = ResNet(Bottleneck, [1, 2], channels=(16, 24), stem_width=16, stem_type="deep", avg_down=True)
    settings = {"name": "ofa_resnet50", "resolution": [64], "stem_depth": [0], "stem_channels": 32, "expand": [0.25]}
    settings |= {"widths": [64, 96], "strides": [1, 2], "base_depths": [1, 2], "depth": [0, 1], "width": [1]}
    supernet, report = loaded(settings, published(network, tmp_path))
    assert report.naming == "ResNet" and report.unused == ["conv1.3", "conv1.4"]
    assert {name.split(".")[0] for name in report.fresh} == {"stage1_block2", "stage2_block3"}
    architecture = largest(supernet.space)
    names = [name for name, _ in supernet.space.network(architecture)]
    x = torch.rand(2, 32, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = network.fc(network.global_pool(network.layer2(network.layer1(x))))
    found = supernet(x, architecture, first=names.index("pool") + 1)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_other_classes_keep_a_fresh_classifier(tmp_path: Path) -> None:
    file = published(lite0(), tmp_path)
    space = get_space(LITE0, num_classes=5)
    fresh, supernet = build_supernet(space, seed=0), build_supernet(space, seed=0)
    report = load_pretrained(supernet, file)
    assert report.fresh == ["classifier.linear.weight", "classifier.linear.bias"] and report.unused == ["classifier"]
    name = "slots.classifier.linear.weight"
    assert torch.equal(supernet.state_dict()[name], fresh.state_dict()[name])


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    supernet = build_supernet(get_space(LITE0), seed=0)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    resnet = published(ResNet(Bottleneck, [1, 1], channels=(8, 8)), tmp_path, name="resnet.pth")
    with pytest.raises(UserError, match=r"resnet\.pth: train\.init\.file: no layer of this file \(ResNet\) fits"):
        load_pretrained(supernet, resnet)
    torch.save({"layers.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth.*no network known.*layers\.0\.weight"):
        load_pretrained(supernet, tmp_path / "other.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    with pytest.raises(UserError, match=r"cut\.safetensors"):
        load_pretrained(supernet, tmp_path / "cut.safetensors")
    state = lite0().state_dict()
    state["blocks.1.0.conv_dw.weight"][0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(UserError, match=r"nan\.pth: blocks\.1\.0\.conv_dw\.weight: .*not finite"):
        load_pretrained(supernet, tmp_path / "nan.pth")
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


# -- in a training


def v3_like(space: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A state dict by timm's names of the tiny test space's first blocks, made by hand."""
    supernet = build_supernet(get_space(space, 3, 1), seed=9)
    names = {"expand_conv": "conv_pw", "expand_norm": "bn1", "depth_conv": "conv_dw", "depth_norm": "bn2"}
    names |= {"project_conv": "conv_pwl", "project_norm": "bn3"}
    state = {"conv_stem.weight": supernet.state_dict()["slots.stem.conv.weight"]}
    for name, tensor in supernet.slots["stage1_block1"].state_dict().items():
        layer, _, part = name.rpartition(".")
        if not part.startswith("transform"):
            state[f"blocks.1.0.{names[layer]}.{part}"] = tensor
    for name, tensor in supernet.slots["first"].state_dict().items():
        layer, _, part = name.rpartition(".")
        first = {"depth_conv": "conv_dw", "depth_norm": "bn1", "project_conv": "conv_pw", "project_norm": "bn2"}[layer]
        if not part.startswith("transform"):
            state[f"blocks.0.0.{first}.{part}"] = tensor
    return state


@pytest.fixture
def file(make_config: MakeConfig, tmp_path: Path) -> Path:
    torch.save(v3_like(make_config().space), tmp_path / "start.pth")
    return tmp_path / "start.pth"


def test_a_training_starts_from_it_and_resumes(
    make_config: MakeConfig, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = make_config(init={"file": str(file)}, epochs=1, checkpoint_every=2)
    train(config, tmp_path / "whole")
    assert "start weights: from" in capsys.readouterr().err
    info = read_json(tmp_path / "whole" / "supernet.json", "supernet")
    assert info["start"]["tensors"]["loaded"] > 10 and info["start"]["params"]["fresh"] > 0
    real = training.accumulate_gradients

    def dying(*args: Any, **kwargs: Any) -> torch.Tensor:
        if kwargs["step"] == 5:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "accumulate_gradients", dying)
        train(config, tmp_path / "broken")
    moved = file.rename(tmp_path / "moved.pth")  # where the file lies is nothing to the training
    config = make_config(init={"file": str(moved)}, epochs=1, checkpoint_every=2)
    train(config, tmp_path / "broken")
    train(make_config(epochs=1), tmp_path / "fresh")
    found = {
        run: read_json(tmp_path / run / "supernet.json", "supernet")["weights_sha256"]
        for run in ("whole", "broken", "fresh")
    }
    assert found["broken"] == found["whole"] != found["fresh"]
    starts = [line for line in read_lines(tmp_path / "broken" / "training.jsonl", "log") if line["kind"] == "start"]
    assert len(starts) == 1 and starts[0]["sha256"] == info["start"]["sha256"]


def test_other_start_weights_are_another_training(make_config: MakeConfig, tmp_path: Path, file: Path) -> None:
    config = make_config(init={"file": str(file)}, max_steps=1)
    train(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"train\.init is .* there and None here"):
        check_same_training(make_config(max_steps=1), tmp_path / "run")
    sha256 = read_json(tmp_path / "run" / "supernet.json", "supernet")["inputs"]["train"]["init"]["sha256"]
    pinned = make_config(init={"file": str(file), "sha256": sha256}, max_steps=1)
    state = torch.load(file, weights_only=True)
    state["conv_stem.weight"] += 1
    torch.save(state, file)
    with pytest.raises(UserError, match=r"train\.init\.sha256 is .* there and .* here"):
        check_same_training(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"start\.pth: has hash .* but train\.init\.sha256 is"):
        train(pinned, tmp_path / "other")
    file.unlink()
    check_same_training(pinned, tmp_path / "run")  # which weights it was is enough to know it again
    with pytest.raises(UserError, match=r"train\.init\.file: these start weights cannot be read.*start\.pth"):
        train(config, tmp_path / "other")


def test_init_is_a_file_or_a_run(make_config: MakeConfig) -> None:
    for init in ({}, {"file": "a", "run": "b"}):
        with pytest.raises(ValueError, match="needs either file"):
            make_config(init=init)
    inputs = json.dumps(training.training_inputs(make_config()))
    assert '"init"' not in inputs  # trainings from before there was such a setting are known again


def test_a_run_gives_its_weights_and_teacher(make_config: MakeConfig, tmp_path: Path) -> None:
    train(make_config(max_steps=2), tmp_path / "run")
    taught = [{"name": "on", "epochs": 1, "distillation": "teacher"}]
    going_on = make_config(phases=taught, init={"run": str(tmp_path / "run")}, max_steps=3)
    train(going_on, tmp_path / "on")
    assert (tmp_path / "on" / "checkpoints" / "teacher.safetensors").exists()
    with pytest.raises(UserError, match="the first phase has no teacher"):
        train(make_config(phases=taught), tmp_path / "none")
    other = make_config(space={**make_config().space, "expanded_channels": 64}, init={"run": str(tmp_path / "run")})
    with pytest.raises(UserError, match=r"fingerprint: is of space .* this training of"):
        train(other, tmp_path / "other")
