"""Published supernets come in with every tensor accounted for, whatever version wrote them, and go out again."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

from ofa.imports.checkpoint import published_tensors, read_supernet
from ofa.imports.matching import NO_COUNTERS, NO_TRANSFORMS
from ofa.imports.names import NAMINGS, PUBLISHED, is_counter, is_transform, single
from ofa.imports.pth import read_state_dict, write_state_dict
from ofa.imports.spaces import layout, width_multiplier
from search_spaces import get_space
from search_spaces.supernet import build_supernet
from trainers.checkpoints.store import load_supernet, weights_digest

#: tensors in the state dicts that the published code makes
NUM_TENSORS = {"mobilenet_v3": 475, "proxyless_nas": 446, "resnet": 368}


@pytest.fixture(scope="module")
def space():
    return get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.25}, 7)


@pytest.fixture(scope="module")
def tensors(space, helpers):
    return helpers.published_weights(space)


@pytest.fixture
def write(tmp_path):
    def write(content, name="net.pth", **options):
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return write


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@cache
def published_shapes(family):
    return layout(get_space({"name": PUBLISHED[family]})).shapes


@pytest.mark.parametrize("family", NAMINGS)
def test_names_are_one_to_one_and_complete(family):
    assert len(published_shapes(family)) == NUM_TENSORS[family]


@pytest.mark.parametrize(
    ("family", "some"),
    [
        ("mobilenet_v3", ["first_conv.conv.weight", "blocks.0.conv.depth_conv.conv.weight"]),
        ("mobilenet_v3", ["blocks.20.conv.depth_conv.conv.7to5_matrix", "blocks.1.conv.point_linear.conv.conv.weight"]),
        (
            "mobilenet_v3",
            ["blocks.5.conv.depth_conv.se.fc.reduce.bias", "blocks.3.conv.inverted_bottleneck.bn.bn.bias"],
        ),
        (
            "mobilenet_v3",
            ["final_expand_layer.bn.running_var", "feature_mix_layer.conv.weight", "classifier.linear.bias"],
        ),
        ("proxyless_nas", ["blocks.21.conv.depth_conv.bn.bn.weight", "feature_mix_layer.bn.weight"]),
        ("resnet", ["input_stem.0.conv.conv.weight", "input_stem.1.conv.conv.conv.weight", "input_stem.2.bn.bn.bias"]),
        ("resnet", ["blocks.14.downsample.conv.conv.weight", "blocks.17.conv3.bn.bn.weight"]),
        ("resnet", ["classifier.linear.linear.weight"]),
    ],
)
def test_names_are_the_published_ones(family, some):
    assert set(some) <= published_shapes(family).keys()


@pytest.mark.parametrize("family", NAMINGS)
def test_there_and_back(family, tmp_path):
    """Random weights of ours, written as published, read without being told what they are: the same supernet."""
    space = get_space({"name": PUBLISHED[family], "width_mult": 0.5}, 5)
    supernet = build_supernet(space, seed=3)
    write_state_dict(tmp_path / "net.pth", published_tensors(supernet))
    found = read_supernet(tmp_path / "net.pth")
    assert found.space.fingerprint == space.fingerprint
    assert found.notes == ()
    assert same(found.tensors, dict(supernet.state_dict()))
    assert same(found.supernet().state_dict(), supernet.state_dict())


def test_the_published_form_is_written(space, tensors, tmp_path):
    write_state_dict(tmp_path / "net.pth", tensors)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert list(content) == ["state_dict"]
    assert same(content["state_dict"], tensors)


@pytest.mark.parametrize("form", ["wrapped", "legacy", "parallel", "training", "old words", "single words", "double"])
def test_every_form_that_was_published(form, tensors, write):
    content = {
        "wrapped": {"state_dict": tensors},
        "legacy": tensors,
        "parallel": {f"module.{name}": tensor for name, tensor in tensors.items()},
        "training": {"epoch": 12, "best_acc": 0.5, "optimizer": {"state": {}}, "state_dict": tensors},
        "old words": {name.replace(".conv.", ".mobile_inverted_conv.", 1): t for name, t in tensors.items()},
        "single words": {single(name): tensor for name, tensor in tensors.items()},
        "double": {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()},
    }[form]
    if form == "old words":  # the word stands for a block's convolution only
        content = {k if k.startswith("blocks.") else n: tensors[n] for k, n in zip(content, tensors, strict=True)}
    found = read_supernet(write(content, _use_new_zipfile_serialization=form != "legacy"))
    assert found.notes == ()
    assert same({name: found.tensors[ours] for ours, name in layout(found.space).names.items()}, tensors)


def test_a_static_network_starts_with_identity_transformations(tensors, write):
    """The full network that progressive shrinking starts from was published as one without kernel transformations."""
    static = {single(name): tensor for name, tensor in tensors.items() if not is_transform(name)}
    found = read_supernet(write(static))
    assert found.notes == (NO_TRANSFORMS,)
    matrices = {name: tensor for name, tensor in found.tensors.items() if "transform" in name}
    assert len(matrices) == 40
    assert all(torch.equal(matrix, torch.eye(len(matrix))) for matrix in matrices.values())


def test_files_without_batch_counters(tensors, write):
    found = read_supernet(write({name: tensor for name, tensor in tensors.items() if not is_counter(name)}))
    assert found.notes == (NO_COUNTERS,)
    assert all(found.tensors[name] == 0 for name in found.tensors if name.endswith("num_batches_tracked"))


def test_width_classes_and_channels_are_told_by_the_shapes(space, tensors, write):
    found = read_supernet(write(tensors)).space
    assert (found.settings["width_mult"], found.num_classes, found.in_channels) == (0.25, 7, 3)
    assert found.fingerprint == space.fingerprint


def test_the_plainest_width_multiplier_is_taken():
    base = [16, 16, 24, 40, 80, 112, 160, 960, 1280]
    assert width_multiplier(base, base) == (1.0, 9)
    assert width_multiplier(base, [24, 24, 32, 48, 96, 136, 192, 1152, 1536]) == (1.2, 9)
    assert width_multiplier(base, [20, 20, 28, 44, 84, 116, 164, 964, 1284])[1] < 5


def test_the_folder_is_that_of_a_finished_training(ofa, tensors, write, tmp_path):
    path = write(tensors)
    answer = ofa("import", "checkpoint", path, "-o", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    facts = json.loads(answer.out)
    loaded = load_supernet(tmp_path / "out")
    names = layout(loaded.space).names
    assert same({names[ours]: tensor for ours, tensor in loaded.supernet.state_dict().items()}, tensors)
    assert facts["weights_sha256"] == loaded.weights_sha256 == weights_digest(loaded.supernet.state_dict())
    assert facts["fingerprint"] == loaded.space.fingerprint
    assert loaded.info["data"]["imported"] == facts["source"]
    assert facts["source"]["file"] == "net.pth"
    assert len(facts["source"]["sha256"]) == 64
    assert ofa("import", "checkpoint", path, "-o", tmp_path / "out").code == 0  # again: nothing to do

    back = ofa("import", "checkpoint", tmp_path / "out", "--reverse", "-o", tmp_path / "back.pth", "--json")
    assert json.loads(back.out)["num_tensors"] == len(tensors)
    assert same(read_state_dict(tmp_path / "back.pth"), tensors)


def test_a_supernet_with_options_of_its_own(helpers, write, tmp_path, ofa):
    settings = {"name": "ofa_proxyless_nas", "width_mult": 0.25, "kernel": [3, 5], "expand": [2, 4], "depth": [1, 3]}
    space = get_space(settings, 4)
    path = write(helpers.published_weights(space))
    (tmp_path / "mine.yaml").write_text(f"space: {json.dumps(settings)}\n")
    answer = ofa("import", "checkpoint", path, "--space", tmp_path / "mine.yaml", "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert load_supernet(tmp_path / "out").space.fingerprint == space.fingerprint
