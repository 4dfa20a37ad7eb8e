"""An imported supernet as the training of a config: `ofa run` goes on with tables, records, search and export."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from ofa.imports.checkpoint import published_tensors
from ofa.imports.pth import write_state_dict
from search_spaces import get_space
from search_spaces.supernet import build_supernet
from trainers.checkpoints.store import load_supernet

NUM_CLASSES, CHANNELS = 3, 1


@pytest.fixture(scope="module")
def settings(tiny):
    return yaml.safe_load(tiny.read_text())["space"]


@pytest.fixture(scope="module")
def supernet(settings):
    return build_supernet(get_space(settings, NUM_CLASSES, CHANNELS), seed=5)


@pytest.fixture
def file(supernet, tmp_path):
    write_state_dict(tmp_path / "net.pth", published_tensors(supernet))
    return tmp_path / "net.pth"


@pytest.mark.slow
def test_a_run_goes_on_after_the_import(ofa, tiny, file, supernet, tmp_path):
    answer = ofa("import", "checkpoint", file, "--config", tiny, "--runs", tmp_path, "--json")
    assert answer.code == 0, answer.err
    facts, run = json.loads(answer.out), tmp_path / "tiny"
    assert facts["output"] == str(run)
    before = (run / "supernet.safetensors").read_bytes()

    answer = ofa("run", tiny, "--runs", tmp_path, "--json")
    assert answer.code == 0, answer.err
    reproduce = json.loads(answer.out)["reproduce"]["command"]
    assert reproduce == "ofa import checkpoint net.pth --config config.yaml\nofa run config.yaml"
    page = (run / "report.html").read_text()
    assert f"The supernet was imported from net.pth, sha256 {facts['source']['sha256']}." in page
    assert "the supernet is trained on it" not in page
    assert all((run / "specialized" / name / "model.onnx").exists() for name in ("small", "large"))
    assert (run / "supernet.safetensors").read_bytes() == before
    assert not (run / "checkpoints").exists()
    loaded = load_supernet(run)
    assert loaded.info["step"] == 0
    assert loaded.info["data"]["imported"]["file"] == "net.pth"
    assert loaded.info["data"]["name"] == "synthetic"
    assert all(torch.equal(loaded.supernet.state_dict()[name], t) for name, t in supernet.state_dict().items())
    assert ofa("import", "checkpoint", file, "--config", tiny, "--runs", tmp_path).code == 0  # again: nothing to do
    assert ofa("train", tiny, "--run", run).code == 0
    assert ofa("report", run).code == 0

    architecture = tmp_path / "architecture.json"
    architecture.write_text('{"ks": 3, "e": [3, 3, 4, 4], "d": [1, 2], "image_size": 16}')
    subnet = tmp_path / "subnet"
    assert ofa("import", "subnet", architecture, "--space", tiny, "-o", subnet).code == 0
    answer = ofa("export", run, subnet / "architecture.json", "--format", "safetensors", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["architecture"]["kernel"] == [3, None, 3, 3]


@pytest.fixture
def refused_import(refused, tiny, tmp_path):
    """The message of an import into a run; the run folder is not made."""

    def refused_import(file, *overrides):
        sets = [word for override in overrides for word in ("--set", override)]
        message = refused("import", "checkpoint", file, "--config", tiny, "--runs", tmp_path / "runs", *sets)
        assert not (tmp_path / "runs").exists()
        return message

    return refused_import


def test_another_number_of_classes(refused_import, file):
    message = refused_import(file, "data.num_classes=4")
    assert "classifier.linear.weight: 2 of " in message
    assert "this one is (3, 32) instead of (4, 32)" in message


def test_another_space(refused_import, file):
    assert "unknown" in refused_import(file, "space.depth=[1]")
    assert "have other shapes" in refused_import(file, "space.width_mult=0.5")


def test_a_published_space_says_which_settings_differ(refused_import, helpers, tmp_path):
    published = helpers.published_weights(get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.25}, 3))
    write_state_dict(tmp_path / "published.pth", published)
    config = ("space={name: ofa_mobilenet_v3, resolution: [32]}", "data.channels=3")
    assert refused_import(tmp_path / "published.pth", *config).endswith(
        "published.pth: is a supernet of ofa_mobilenet_v3 at width 0.25, which is not the space of this config: "
        "width_mult is 0.25 in the file and 1.0 here. Set these under `space:` in the config"
    )
    classes = refused_import(tmp_path / "published.pth", *config, "data.num_classes=5", "space.width_mult=0.25")
    assert "num_classes is 3 in the file and 5 here. A supernet keeps its classifier" in classes


@pytest.fixture
def into_run(refused, tiny, tmp_path):
    """The message of an import into a run folder that is there."""

    def into_run(file, *overrides):
        sets = [word for override in overrides for word in ("--set", override)]
        return refused("import", "checkpoint", file, "--config", tiny, "--runs", tmp_path, *sets)

    return into_run


def test_a_run_with_another_supernet_keeps_it(ofa, into_run, tiny, file, settings, tmp_path):
    assert ofa("import", "checkpoint", file, "--config", tiny, "--runs", tmp_path).code == 0
    other = build_supernet(get_space(settings, NUM_CLASSES, CHANNELS), seed=6)
    write_state_dict(tmp_path / "other.pth", published_tensors(other))
    message = into_run(tmp_path / "other.pth")
    assert message.endswith("supernet.json: this folder already holds another supernet. Choose another folder")
    message = into_run(file, "train.epochs=1")
    assert "belongs to a training with other settings: train.epochs is 6.0 there and 1.0 here" in message


def test_a_training_that_has_begun_is_kept(into_run, file, tmp_path):
    (tmp_path / "tiny" / "checkpoints").mkdir(parents=True)
    (tmp_path / "tiny" / "checkpoints" / "step-00000003.json").write_text("{}")
    assert "a training has begun in this folder. Choose another name for this run" in into_run(file)
