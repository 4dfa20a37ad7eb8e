"""Published specialised networks: their architecture, exact costs and weights, from every form that was published."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ofa.export.architecture_file import read_architecture_file
from ofa.imports.architectures import from_published, to_published
from ofa.imports.names import NAMINGS, PUBLISHED, network_names
from ofa.imports.net_config import network_config
from ofa.imports.pth import write_state_dict
from ofa.imports.static import from_net_config
from ofa.imports.subnet import read_subnet
from search_spaces import Architecture, get_space
from search_spaces.supernet import build_supernet
from trainers.checkpoints.store import read_tensors

HERE = Path(__file__)
DATA = Path(os.environ.get("OFA_BENCH_DATA", HERE.parents[4] / "shared" / "data")) / "published" / "subnets"
PUBLISHED_SUBNETS = json.loads(HERE.with_name("published_subnets.json").read_text())["subnets"]


def random_architectures(space, num, seed=0):
    rows = [space.smallest(), space.largest(), *space.sample(num, np.random.default_rng(seed), uniform=False)]
    return space.decode(np.array(rows))


def as_once_written(config):
    """The same network as the first versions wrote it: other names, lists for numbers, fields left out."""
    if isinstance(config, list):
        return [as_once_written(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    old = {"MBConvLayer": "MBInvertedConvLayer", "ResidualBlock": "MobileInvertedResidualBlock"}
    result = {key: as_once_written(value) for key, value in config.items() if key not in ("groups", "ws_eps", "use_se")}
    if config.get("name") == "MBConvLayer":
        result["use_se"] = config["use_se"]
    if config.get("name") == "IdentityLayer":
        result |= {"in_channels": [config["in_channels"]], "out_channels": [config["out_channels"]]}
    if config.get("name") == "ResidualBlock" and config["conv"]["name"] == "MBConvLayer":
        result["mobile_inverted_conv"] = result.pop("conv")
        result["name"] = old["ResidualBlock"]
    elif config.get("name") in old and config["name"] != "ResidualBlock":
        result["name"] = old[config["name"]]
    return result


# -- the networks that were published ----------------------------------------------------------------------------------


@pytest.mark.parametrize("row", PUBLISHED_SUBNETS, ids=lambda row: row["name"])
def test_costs_are_those_that_the_published_code_counts(row):
    architecture = Architecture(row["architecture"])
    settings = {"name": row["space"], "width_mult": row["width_mult"], "resolution": [architecture.resolution]}
    space = get_space(settings)
    population = space.encode([architecture])
    assert space.cost("params").evaluate(population).tolist() == [row["params"]]
    assert space.cost("macs").evaluate(population).tolist() == [row["macs"]]


@pytest.mark.parametrize("row", PUBLISHED_SUBNETS, ids=lambda row: row["name"])
def test_published_files_are_read(row):
    folder = DATA / row["name"]
    if not folder.exists():
        pytest.skip(f"needs the published {row['name']}/net.config in OFA_BENCH_DATA")
    subnet = read_subnet(folder / "net.config", run_config=folder / "run.config")
    assert subnet.architecture.to_json() == row["architecture"]
    assert (subnet.space.name, subnet.space.settings["width_mult"]) == (row["space"], row["width_mult"])
    assert (subnet.cost("params"), subnet.cost("macs")) == (row["params"], row["macs"])


# -- forms -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["of today", "of the first version"])
@pytest.mark.parametrize("family", NAMINGS)
def test_every_network_is_found_again_from_its_net_config(family, form):
    width = {"mobilenet_v3": 1.2, "proxyless_nas": 1.3, "resnet": 1.0}[family]
    space = get_space({"name": PUBLISHED[family], "width_mult": width}, 12)
    for architecture in random_architectures(space, 12):
        config = network_config(space, architecture)
        written = json.loads(json.dumps(config if form == "of today" else as_once_written(config)))
        found_space, found, _ = from_net_config(written, file=Path("f"), resolution=architecture.resolution)
        assert network_config(found_space, found) == config  # two widths of a ResNet's stem may be the same network
        assert (found_space.num_classes, found_space.fingerprint) == (12, space.fingerprint)
        if family != "resnet":
            assert found == architecture


@pytest.mark.parametrize("family", NAMINGS)
def test_every_architecture_survives_the_published_form(family):
    space = get_space({"name": PUBLISHED[family]})
    for architecture in random_architectures(space, 50):
        written = json.loads(json.dumps(to_published(space, architecture)))
        assert from_published(written, space, resolution=written["image_size"], file=Path()) == architecture


def test_lengths_of_the_published_form():
    for family, lengths in {
        "mobilenet_v3": {"ks": 20, "e": 20, "d": 5},
        "proxyless_nas": {"ks": 21, "e": 21, "d": 6},
        "resnet": {"d": 5, "e": 18, "w": 6},
    }.items():
        space = get_space({"name": PUBLISHED[family]})
        written = to_published(space, space.decode(space.largest())[0])
        assert {key: len(value) for key, value in written.items() if key != "image_size"} == lengths


@pytest.fixture
def write(tmp_path):
    def write(content, name="net.json"):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    return write


def test_scalars_and_entries_beyond_the_depth(write):
    found = read_subnet(write({"ks": 7, "e": [6] * 20, "d": 2, "r": [176], "wid": None})).architecture
    assert found.to_json()["kernel"] == [7, 7, None, None] * 5
    entries = [3, 3, 99, None] * 5
    assert read_subnet(write({"ks": entries, "e": 3, "d": 2, "image_size": 128})).architecture.resolution == 128


def test_depth_of_the_last_proxyless_stage_is_always_one(write):
    """The published code samples 2, 3 or 4 there and takes one block."""
    found = read_subnet(write({"ks": [3] * 21, "e": [3] * 21, "d": [2, 2, 2, 2, 2, 4], "image_size": 160}))
    assert found.space.name == "ofa_proxyless_nas"
    assert found.architecture.to_json()["depth"] == [2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize(("first", "stem"), [(2, 1), (1, 0), (0, 0)])
def test_the_first_depth_of_a_resnet_is_its_stem(write, first, stem):
    found = read_subnet(write({"d": [first, 0, 1, 2, 0], "e": [0.2] * 18, "w": [0, 2, 1, 0, 2, 1], "image_size": 224}))
    values = found.architecture.to_json()
    assert (values["stem_depth"], values["depth"]) == (stem, [0, 1, 2, 0])
    assert values["width"] == [0.65, 1, 0.8, 0.65, 1, 0.8]


def test_a_resolution_beyond_the_published_ones_joins_the_options(write):
    found = read_subnet(write({"ks": 3, "e": [3] * 20, "d": [2] * 5}), resolution=236)
    assert found.architecture.resolution == 236
    assert found.space.settings["resolution"][-3:] == [220, 224, 236]


# -- folders and weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", NAMINGS)
def test_weights_are_placed_by_their_names(family, write, tmp_path, ofa):
    """A static state dict with the names of the first version, cut from a supernet: the network cut out here."""
    space = get_space({"name": PUBLISHED[family], "width_mult": 0.25, "resolution": [64]}, 6)
    supernet = build_supernet(space, seed=1).eval()
    for architecture in random_architectures(space, 1, seed=4):
        network = supernet.extract(architecture)
        state = network.state_dict()
        names = network_names(space, architecture, state)
        old = {names[name].replace(".conv.", ".mobile_inverted_conv.", 1): tensor for name, tensor in state.items()}
        old = {
            (key if key.startswith("blocks.") else names[name]): state[name]
            for key, name in zip(old, state, strict=True)
        }
        write_state_dict(tmp_path / "init", old if family != "resnet" else {names[n]: t for n, t in state.items()})
        (tmp_path / "config").mkdir(exist_ok=True)
        path = write(network_config(space, architecture), f"{architecture.key}.config")
        run_config = write({"image_size": 64}, "run.config")
        out = tmp_path / architecture.key
        options = ["--run-config", run_config, "--weights", tmp_path / "init", "--width-mult", "0.25", "-o", out]
        answer = ofa("import", "subnet", path, *options, "--json")
        assert answer.code == 0, answer.err
        facts = json.loads(answer.out)
        tensors = read_tensors(out / "network.safetensors", "network")
        assert tensors.keys() == state.keys()
        assert all(torch.equal(tensors[name], state[name]) for name in state)
        described = read_architecture_file(out / "architecture.json")
        assert network_config(described.space, described.architecture) == network_config(space, architecture)
        assert json.loads((out / "subnet.json").read_text()) == {k: v for k, v in facts.items() if k != "output"}
        assert facts["params"] == sum(parameter.numel() for parameter in network.parameters())
        assert facts["source"]["weights"]["file"] == "init"
        assert ofa("import", "subnet", path, *options).code == 0  # again


def test_width_of_an_architecture_is_told_by_its_weights(write, tmp_path):
    space = get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.5, "resolution": [64]}, 4)
    (architecture,) = space.decode(space.smallest())
    state = build_supernet(space, seed=1).extract(architecture).state_dict()
    names = network_names(space, architecture, state)
    write_state_dict(tmp_path / "init", {names[name]: tensor for name, tensor in state.items()})
    found = read_subnet(write(to_published(space, architecture)), weights=tmp_path / "init")
    assert (found.space.settings["width_mult"], found.space.num_classes) == (0.5, 4)
    assert found.tensors is not None
