"""Networks of no known space, and files that are none: the first thing that is wrong, and nothing is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ofa.imports.names import network_names
from ofa.imports.net_config import network_config
from ofa.imports.pth import write_state_dict
from search_spaces import get_space
from search_spaces.supernet import build_supernet


@pytest.fixture(scope="module")
def space():
    return get_space({"name": "ofa_mobilenet_v3", "width_mult": 0.25}, 6)


@pytest.fixture(scope="module")
def architecture(space):
    return space.decode(space.sample(1, np.random.default_rng(2)))[0]


@pytest.fixture
def config(space, architecture):
    return json.loads(json.dumps(network_config(space, architecture)))


@pytest.fixture
def import_of(refused, tmp_path):
    """The message for importing this content; checks that nothing was written."""

    def import_of(content, *options, resolution=True):
        path = tmp_path / "net.config"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        words = [*options, *(["--resolution", "160"] if resolution else [])]
        message = refused("import", "subnet", path, "-o", tmp_path / "out", *words)
        assert not (tmp_path / "out").exists()
        return message.replace(str(path), "FILE")

    return import_of


FIELDS = [
    (("blocks", 3, "conv", "mid_channels"), 50),
    (("blocks", 2, "conv", "use_se"), True),
    (("blocks", 6, "conv", "act_func"), "relu6"),
    (("blocks", 1, "conv", "stride"), 1),
    (("blocks", 4, "conv", "groups"), 2),
    (("blocks", 2, "shortcut"), None),
    (("blocks", 0, "conv", "kernel_size"), 5),
    (("first_conv", "act_func"), "relu"),
    (("first_conv", "kernel_size"), 5),
    (("first_conv", "bias"), True),
    (("final_expand_layer", "use_bn"), False),
    (("feature_mix_layer", "use_bn"), True),
    (("feature_mix_layer", "dropout_rate"), 0.2),
    (("classifier", "bias"), False),
    (("classifier", "in_features"), 24),
    (("bn", "eps"), 1e-3),
    (("bn", "momentum"), 0.01),
    (("bn", "ws_eps"), 1e-5),
    (("blocks", 3, "conv", "rate"), 3),
    (("extra_layer",), {}),
]


def key_of(place):
    key = ""
    for part in place:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else part
    return key


@pytest.mark.parametrize(("place", "value"), FIELDS, ids=[key_of(place) for place, _ in FIELDS])
def test_the_first_field_that_differs_is_named(config, import_of, place, value):
    target = config
    for part in place[:-1]:
        target = target[part]
    assert target.get(place[-1]) != value
    target[place[-1]] = value
    message = import_of(config)
    assert message.startswith(
        f"FILE: {key_of(place)}: no network of ofa_mobilenet_v3 at width 0.25: this is {value!r}, and "
    )


@pytest.mark.parametrize(
    ("field", "value", "options"),
    [("kernel_size", 9, "3, 5, 7"), ("expand_ratio", 5, "3, 4, 6"), ("kernel_size", None, "3")],
)
def test_a_block_that_no_network_has(config, import_of, field, value, options):
    config["blocks"][2]["conv"][field] = value
    message = import_of(config)
    if field == "expand_ratio" or value == 9:
        assert message.startswith(
            f"FILE: blocks[2].conv.{field}: no network of ofa_mobilenet_v3 at width 0.25 has {value} here"
        )
    assert f"Options: {options}" in message


def test_too_many_or_too_few_blocks(config, import_of):
    config["blocks"] = config["blocks"][:9]
    assert import_of(config) == "FILE: blocks: 9 blocks; networks of ofa_mobilenet_v3 have 11 to 21"
    config["blocks"] *= 3
    assert "27 blocks" in import_of(config)


def test_a_width_of_one_block_alone(config, import_of):
    config["blocks"][5]["conv"]["out_channels"] = 64
    assert import_of(config).startswith("FILE: blocks[5].conv.out_channels: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "OFAMobileNetV3"}, "unknown network 'OFAMobileNetV3'. Did you mean 'MobileNetV3'?"),
        ({"name": None}, "unknown network None"),
        ({"blocks": 3}, "blocks: must be the list of the network's blocks"),
        ({"blocks": [3] * 16}, "not a layer"),
        ({"blocks": [{"name": "Fire"}] * 16}, "blocks[0].name: unknown layer 'Fire'"),
        ({"classifier": None}, "classifier.out_features: must be a positive number"),
        ({"bn": 3}, "bn: must be the settings of batch norm"),
        ({"first_conv": []}, "stem.in_channels: must be a positive number"),
    ],
)
def test_configs_of_another_make(config, import_of, change, message):
    assert message in import_of({**config, **change})


def test_another_space_than_asked_for(config, import_of):
    assert "is a MobileNetV3, which is no network of ofa_resnet50" in import_of(config, "--space", "ofa_resnet50")
    assert import_of(config, "--width-mult", "1.2") == "FILE: --width-mult: has width 0.25, not 1.2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a network description: not valid JSON"),
        ([3], "not a network description"),
        ({"a": 3}, "neither a net.config nor an architecture"),
        (
            {"ks": 3, "e": 3, "d": 2},
            "does not tell its space. Give --space: ofa_mobilenet_v3, ofa_proxyless_nas, ofa_r",
        ),
        ({"ks": [3] * 20, "e": 3, "d": [2] * 4}, "does not tell its space"),
        ({"ks": [9] + [3] * 19, "e": 3, "d": 2}, "FILE: ks[0]: 9 is not an option of this space. Options: 3, 5, 7"),
        (
            {"ks": [3] * 20, "e": 3, "d": [2, 2, 5, 2, 2]},
            "FILE: d[2]: 5 is not an option of this space. Options: 2, 3, 4",
        ),
        ({"ks": [3] * 20, "e": "3", "d": 2}, "FILE: e[0]: not a number (got '3')"),
        ({"ks": [3] * 20, "e": 3, "d": 2, "wid": 1}, "FILE: wid: this space has no elastic width of that kind"),
        ({"ks": [3] * 20, "e": 3, "d": 2, "kernel": 1}, "unknown key of a mobilenet_v3 architecture 'kernel'"),
        ({"ks": [3] * 20, "e": 3, "d": 2, "r": [128, 160]}, "FILE: r: must be a number of pixels (got [128, 160])"),
        (
            {"ks": [3] * 20, "e": 3, "d": 2, "r": 128},
            "the resolution is 160 by --resolution; the resolution is 128 by FILE",
        ),
        ({"d": [2, 0, 0, 0, 0], "e": 0.2, "w": [0, 1, 2, 3, 0, 0]}, "FILE: w[3]: not the number of a width (got 3)"),
        ({"d": [2, 0, 0, 0, 3], "e": 0.2, "w": 0}, "FILE: d[4]: 3 is not an option of this space. Options: 0, 1, 2"),
        ({"d": [2, 0, 0], "e": 0.2, "w": 0}, "FILE: d: needs 5 entries in this space, or one value (got 3)"),
    ],
)
def test_architectures_that_are_none(import_of, content, message):
    assert message in import_of(content)


def test_the_resolution_must_be_known(config, import_of, tmp_path):
    assert import_of(config, resolution=False) == (
        "FILE: the resolution is not known. Give its run.config (--run-config), or --resolution"
    )
    (tmp_path / "run.config").write_text('{"size": 3}')
    assert "run.config: image_size: says no image_size" in import_of(config, "--run-config", tmp_path / "run.config")
    (tmp_path / "run.config").write_text('{"image_size": 128}')
    message = import_of(config, "--run-config", tmp_path / "run.config")
    assert "the resolution is 160 by --resolution; the resolution is 128 by" in message


def test_weights_of_another_network(space, architecture, config, import_of, tmp_path):
    supernet = build_supernet(space, seed=1)
    (other,) = space.decode(space.smallest())
    for network, expected in ((other, "missing"), (architecture, "1 unknown (extra)")):
        state = supernet.extract(network).state_dict()
        names = network_names(space, network, state)
        tensors = {names[name]: tensor for name, tensor in state.items()}
        write_state_dict(tmp_path / "init", {**tensors, "extra": state["classifier.linear.bias"]})
        message = import_of(config, "--weights", tmp_path / "init")
        assert "the tensors are not those of this network of ofa_mobilenet_v3 at width 0.25" in message
        assert expected in message


def test_a_folder_with_another_network_keeps_it(space, config, ofa, refused, tmp_path):
    (other,) = space.decode(space.smallest())
    (tmp_path / "a.config").write_text(json.dumps(config))
    (tmp_path / "b.config").write_text(json.dumps(network_config(space, other)))
    options = ("-o", tmp_path / "out", "--resolution", "160")
    assert ofa("import", "subnet", tmp_path / "a.config", *options).code == 0
    message = refused("import", "subnet", tmp_path / "b.config", *options)
    assert message.endswith("this folder already holds another network")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    message = refused("import", "subnet", tmp_path / "b.config", "-o", tmp_path / "mine", "--resolution", "160")
    assert message.endswith("holds other files than an imported network")
