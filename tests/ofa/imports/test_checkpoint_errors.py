"""Files that are no published supernet, or not the one they should be: one clear message, and nothing is written."""

from __future__ import annotations

import os

import pytest
import torch

from search_spaces import get_space

NAME = "blocks.3.conv.point_linear.conv.conv.weight"


@pytest.fixture(scope="module")
def tensors(helpers):
    return helpers.published_weights(get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.25}, 7))


@pytest.fixture
def import_of(refused, tmp_path):
    """The message for importing this content; checks that nothing was written."""

    def import_of(content, *options):
        path = tmp_path / "net.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        message = refused("import", "checkpoint", path, "-o", tmp_path / "out", *options)
        assert not (tmp_path / "out").exists()
        assert str(path) in message or options
        return message.replace(str(path), "FILE")

    return import_of


def test_renamed(tensors, import_of):
    renamed = {name.replace(NAME, NAME.replace("point_linear", "projection")): t for name, t in tensors.items()}
    assert import_of(renamed) == (
        "FILE: the tensors are not those of ofa_mobilenet_v3 at width 0.25: "
        "1 missing (blocks.3.conv.point_linear.conv.conv.weight), "
        "1 unknown (blocks.3.conv.projection.conv.conv.weight). "
        "'blocks.3.conv.projection.conv.conv.weight' may be 'blocks.3.conv.point_linear.conv.conv.weight' renamed"
    )


def test_missing(tensors, import_of):
    without = {name: tensor for name, tensor in tensors.items() if not name.startswith("blocks.7.")}
    message = import_of(without)
    assert "24 missing (blocks.7.conv.inverted_bottleneck.conv.conv.weight, " in message
    assert "and 20 more)" in message
    assert "unknown" not in message


def test_some_transformations_missing(tensors, import_of):
    without = {name: t for name, t in tensors.items() if name != "blocks.4.conv.depth_conv.conv.5to3_matrix"}
    assert "1 missing (blocks.4.conv.depth_conv.conv.5to3_matrix)" in import_of(without)


def test_extra(tensors, import_of):
    message = import_of({**tensors, "teacher.scale": torch.zeros(3)})
    assert message.endswith("1 unknown (teacher.scale). A supernet with options of its own needs --space CONFIG.yaml")


def test_twice(tensors, import_of):
    message = import_of({**tensors, NAME.replace("conv.conv.weight", "conv.weight"): tensors[NAME]})
    assert message == f"FILE: {NAME}: is there twice, in an old and a new spelling"


def test_wrong_shape(tensors, import_of):
    message = import_of({**tensors, NAME: tensors[NAME][:, :-8]})
    assert message.startswith(
        f"FILE: {NAME}: 1 of 475 tensors have other shapes than in ofa_mobilenet_v3 at width 0.25"
    )
    assert f"{tuple(tensors[NAME][:, :-8].shape)} instead of {tuple(tensors[NAME].shape)}" in message


def test_not_finite(tensors, import_of):
    broken = tensors[NAME].clone()
    broken.view(-1)[:2] = torch.nan
    assert import_of({**tensors, NAME: broken}) == (
        f"FILE: {NAME}: 2 of {broken.numel()} numbers are not finite (NaN or infinity)"
    )


def test_negative_variance(tensors, import_of):
    name = "final_expand_layer.bn.running_var"
    assert f"FILE: {name}: a variance below zero" in import_of({**tensors, name: tensors[name] - 2})


def test_integers(tensors, import_of):
    assert f"{NAME}: weights must be floating-point numbers" in import_of({**tensors, NAME: tensors[NAME].int()})


def test_wrong_family(tensors, import_of):
    message = import_of({"state_dict": tensors}, "--space", "ofa_resnet50")
    assert message == "FILE: is a supernet of ofa_mobilenet_v3, not of ofa_resnet50. Leave out --space"
    assert "nothing was published" not in message


def test_another_network(import_of):
    content = {f"layer{i}.{j}.conv.weight": torch.zeros(3, 3) for i in range(4) for j in range(9)}
    message = import_of(content)
    assert message.startswith("FILE: not a published once-for-all supernet: 0% of its tensor names agree")
    assert "ofa_mobilenet_v3, ofa_proxyless_nas, ofa_resnet50" in message


def test_width_that_contradicts(tensors, import_of):
    assert import_of(tensors, "--width-mult", "1.2") == ("FILE: --width-mult: this checkpoint has width 0.25, not 1.2")


def test_width_of_a_space_without_one_or_with_another(tensors, import_of, tmp_path):
    (tmp_path / "mine.yaml").write_text("space: {name: ofa_mobilenet_v3, width_mult: 0.5}\n")
    assert "width_mult: this checkpoint has width 0.25, not 0.5" in import_of(
        tensors, "--space", tmp_path / "mine.yaml"
    )
    message = import_of(tensors, "--space", tmp_path / "mine.yaml", "--width-mult", "0.25")
    assert message == "--width-mult: the space has width 0.5 (got 0.25)"


def test_widths_of_no_multiplier(helpers, import_of):
    odd = {
        "name": "ofa_mobilenet_v3",
        "widths": [40, 48, 56, 64, 72],
        "expanded_channels": 512,
        "feature_channels": 600,
    }
    message = import_of(helpers.published_weights(get_space(odd, 7)))
    assert "times no width multiplier, rounded to multiples of 8; the nearest, " in message


def test_unknown_space(tensors, import_of):
    assert "unknown search space 'ofa_mobilenetv3'. Did you mean 'ofa_mobilenet_v3'?" in import_of(
        tensors, "--space", "ofa_mobilenetv3"
    )


class RunsCode:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_pickle_with_code_is_refused_and_not_run(tensors, import_of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = import_of({"state_dict": tensors, "best": RunsCode()})
    assert message.startswith(
        "FILE: holds more than tensors: it refers to posix.system, which loading would have to run"
    )
    assert not (tmp_path / "ran").exists()


def test_a_whole_module(import_of):
    assert "it refers to torch.nn.modules.linear.Linear" in import_of(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_truncated(tensors, import_of, tmp_path, form):
    torch.save({"state_dict": tensors}, tmp_path / "whole", _use_new_zipfile_serialization=form == "zip")
    whole = (tmp_path / "whole").read_bytes()
    for size in (len(whole) // 2, 1000, len(whole) - 40_000):
        assert "truncated, damaged or not a file of torch.save" in import_of(whole[:size])


@pytest.mark.parametrize(
    "content", [b"", b"hello\n", b"<html>404</html>", b"PK\x03\x04 no zip at all", b"\x80\x04K\x01."]
)
def test_not_a_checkpoint(import_of, content):
    assert import_of(content).startswith("FILE: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "not a state dict: holds no tensors by name"),
        ([torch.zeros(3)], "not a state dict: holds no tensors by name"),
        ({"state_dict": {"a": 3}}, "a: not a tensor. Of type int; expected a state dict"),
        ({"epoch": 3, "net": torch.zeros(1)}, "epoch: not a tensor"),
    ],
)
def test_not_a_state_dict(import_of, content, message):
    assert message in import_of(content)


def test_no_such_file(import_of, refused, tmp_path):
    assert import_of(None) == "FILE: no such file"
    (tmp_path / "folder").mkdir()
    assert "is a folder, not a file" in refused("import", "checkpoint", tmp_path / "folder", "-o", tmp_path / "o")


def test_a_folder_with_another_supernet_keeps_it(tensors, ofa, refused, tmp_path):
    torch.save(tensors, tmp_path / "net.pth")
    torch.save({**tensors, NAME: tensors[NAME] * 2}, tmp_path / "other.pth")
    assert ofa("import", "checkpoint", tmp_path / "net.pth", "-o", tmp_path / "out").code == 0
    message = refused("import", "checkpoint", tmp_path / "other.pth", "-o", tmp_path / "out")
    assert message.endswith("supernet.json: this folder already holds another supernet. Choose another folder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "-o/--config: give either a place to write to, or the config"),
        (["-o", "a", "--config", "b.yaml"], "-o/--config: give either a place to write to, or the config"),
        (["-o", "a", "--set", "x=1"], "--set: overrides a config"),
        (["--config", "b.yaml", "--space", "ofa_resnet50"], "--space/--width-mult: is told by the config"),
        (["--reverse", "-o", "a", "--width-mult", "1"], "--space/--width-mult: is told by the supernet's own folder"),
        (["--reverse", "--config", "b.yaml"], "-o: name the file to write"),
    ],
)
def test_options_that_do_not_go_together(refused, options, message):
    assert message in refused("import", "checkpoint", "net.pth", *options)


def test_reverse_of_no_supernet(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    message = refused("import", "checkpoint", tmp_path / "empty", "--reverse", "-o", tmp_path / "out.pth")
    assert "no trained supernet here" in message
    assert not (tmp_path / "out.pth").exists()
