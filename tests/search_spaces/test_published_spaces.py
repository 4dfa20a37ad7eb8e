"""The spaces published with once-for-all (https://arxiv.org/abs/1908.09791): sizes, costs and structure to the unit."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.operators import Bottleneck, PoolClassifier, ResidualConv
from search_spaces.supernet import build_supernet

HERE = Path(__file__).parent
COUNTS = json.loads((HERE / "published_counts.json").read_text())["networks"]

#: a ResNet of which every width is elastic and that trains in no time
NARROW = {"name": "ofa_resnet50", "resolution": [36], "widths": [64, 96], "strides": [1, 2], "base_depths": [1, 1]}


def test_sizes():
    assert get_space({"name": "ofa_proxyless_nas"}).size == 7371**5 * 9 * 25
    assert get_space({"name": "ofa_resnet50"}).size == 2 * 3**6 * 117**3 * 1053 * 9


@pytest.mark.parametrize(
    ("name", "macs", "params"),
    [
        ("ofa_proxyless_nas", (265_526_256, 1_004_908_032), (3_718_832, 7_942_056)),
        ("ofa_resnet50", (962_192_128, 7_491_643_904), (6_539_280, 48_105_992)),
    ],
)
def test_smallest_and_largest_at_224_px(name, macs, params):
    space = get_space({"name": name}).restrict(resolution=[224])
    for metric, expected in (("macs", macs), ("params", params)):
        cost = space.cost(metric)
        assert (cost.minimum()[0], cost.maximum()[0]) == expected


def compare(networks):
    spaces: dict[str, SearchSpace] = {}
    for settings, values, params, macs in networks:
        space = spaces.setdefault(json.dumps(settings), get_space(settings))
        row = space.encode([Architecture(values)])
        found = space.cost("params").evaluate(row)[0], space.cost("macs").evaluate(row)[0]
        assert found == (params, macs), (settings, values)


def test_counts_of_random_networks_are_the_published_packages():
    assert len(COUNTS) == 30
    compare(COUNTS)


@pytest.mark.peer
def test_counts_beside_the_published_package():
    """OFA_PEER_PYTHON=/path/to/venv/bin/python pytest -m peer tests/search_spaces"""
    python = os.environ.get("OFA_PEER_PYTHON")
    if not python:
        pytest.skip("needs OFA_PEER_PYTHON, an interpreter with the published package `ofa`")
    command = [python, str(HERE / "peer_counts.py"), "40", "1"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    compare(json.loads(done.stdout)["networks"])


# -- ProxylessNAS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proxyless() -> SearchSpace:
    return get_space({"name": "ofa_proxyless_nas", "resolution": [32]})


def test_widths_of_the_proxyless_network(proxyless):
    widths = {
        name: operator.out_channels for name, operator in proxyless.network(proxyless.decode(proxyless.largest())[0])
    }
    stages = [widths[f"stage{stage}_block1"] for stage in range(1, 7)]
    assert [widths["stem"], widths["first"], *stages, widths["feature_mix"]] == [
        40,
        24,
        32,
        56,
        104,
        128,
        248,
        416,
        1664,
    ]


def test_restricting_the_depth_passes_by_the_stage_of_one_block(proxyless):
    part = proxyless.restrict(depth=[3, 4])
    assert part.size == (9**3 + 9**4) ** 5 * 9
    assert proxyless.restrict({"depth.5": [1]}).size == proxyless.size
    for values in ([1], [1, 4]):
        with pytest.raises(UserError, match=r"depth: 1 is not an option. Options: \[2, 3, 4\]"):
            proxyless.restrict(depth=values)
    architecture = part.decode(part.smallest())[0]
    assert architecture.values["depth"] == (3, 3, 3, 3, 3, 1)
    again = SearchSpace.from_description(json.loads(json.dumps(part.description)))
    assert again.size == part.size


def test_the_first_proxyless_block_is_never_a_residual():
    narrow = get_space({"name": "ofa_proxyless_nas", "width_mult": 0.25, "resolution": [32]})
    first = dict(narrow.network(narrow.decode(narrow.largest())[0]))["first"]
    assert first.in_channels == first.out_channels == 8 and not first.residual


@pytest.mark.parametrize(
    ("name", "eps"), [("ofa_proxyless_nas", 1e-3), ("ofa_mobilenet_v3", 1e-5), ("ofa_resnet50", 1e-5)]
)
def test_batch_norms_add_what_the_published_ones_do(name, eps, helpers):
    space = helpers.small_space(name)
    supernet = build_supernet(space, seed=0)
    network = supernet.extract(space.decode(space.largest())[0])
    for module in (supernet, network):
        assert {norm.eps for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)} == {eps}
    assert not any(str(eps) in key for key in space.operators())


# -- ResNet ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow() -> SearchSpace:
    return get_space(NARROW, num_classes=5)


def test_a_block_follows_the_width_of_the_stage_before():
    space = get_space({"name": "ofa_resnet50"})
    largest = space.decode(space.restrict(resolution=[128]).largest())[0]
    for index, (before, after) in enumerate(((24, 24), (40, 48), (168, 208), (336, 408), (664, 816), (1328, 1640))):
        for option, channels in ((0.65, before), (0.8, after)):
            width = tuple(option if i == index else 1 for i in range(6))
            network = space.network(Architecture({**largest.values, "width": width}))
            for (_, source), (name, operator) in itertools.pairwise(network):
                assert operator.in_channels == source.out_channels, name
                assert operator.resolution == source.output_resolution, name
            first = ["stem1", "stem3", "stage1_block1", "stage2_block1", "stage3_block1", "stage4_block1"][index]
            assert dict(network)[first].out_channels == channels


def test_slots_read_few_genes():
    """The table of a slot grows with the product of the options it reads."""
    space = get_space({"name": "ofa_resnet50"})
    assert max(table.size for table in space.cost("macs").tables) == 9 * 3**3
    assert len(space.operators()) == 1392


def test_depth_of_the_resnet(narrow):
    largest = narrow.decode(narrow.largest())[0]
    shallow = Architecture({**largest.values, "stem_depth": 0, "depth": (0, 2)})
    names = [name for name, _ in narrow.network(shallow)]
    blocks = ["stage1_block1", "stage2_block1", "stage2_block2", "stage2_block3"]
    assert names == ["stem1", "stem3", "pool", *blocks, "classifier"]
    network = dict(narrow.network(largest))
    assert isinstance(network["stem2"], ResidualConv) and isinstance(network["classifier"], PoolClassifier)
    blocks = [operator for operator in network.values() if isinstance(operator, Bottleneck)]
    assert [block.downsample for block in blocks] == [True, False, False] * 2
    assert [block.stride for block in blocks] == [1, 1, 1, 2, 1, 1]


def test_no_slot_for_a_stem_convolution_that_no_network_has():
    space = get_space({**NARROW, "stem_depth": [0]}, num_classes=5)
    assert "stem2" not in [slot.name for slot in space.slots]
    architecture = space.decode(space.smallest())[0]
    assert build_supernet(space, seed=0)(torch.zeros(2, 3, 36, 36), architecture).shape == (2, 5)


def test_names_of_the_weights(narrow, proxyless):
    """Saved supernets are found again by these names."""
    names = {
        "stem1.conv.weight": (32, 3, 3, 3),
        "stem1.norm.running_var": (32,),
        "stem2.conv.weight": (32, 32, 3, 3),
        "stem3.conv.weight": (64, 32, 3, 3),
        "stage2_block1.reduce_conv.weight": (32, 64, 1, 1),
        "stage2_block1.reduce_norm.weight": (32,),
        "stage2_block1.middle_conv.weight": (32, 32, 3, 3),
        "stage2_block1.middle_norm.bias": (32,),
        "stage2_block1.expand_conv.weight": (96, 32, 1, 1),
        "stage2_block1.expand_norm.weight": (96,),
        "stage2_block1.shortcut_conv.weight": (96, 64, 1, 1),
        "stage2_block1.shortcut_norm.running_mean": (96,),
        "classifier.linear.weight": (5, 96),
    }
    state = build_supernet(narrow).slots.state_dict()
    assert {name: tuple(state[name].shape) for name in names} == names
    assert "stage2_block2.shortcut_conv.weight" not in state
    state = build_supernet(proxyless).slots.state_dict()
    names = {
        "stem.conv.weight": (40, 3, 3, 3),
        "first.depth_conv.weight": (40, 1, 3, 3),
        "stage6_block1.expand_conv.weight": (1488, 248, 1, 1),
        "stage6_block1.depth_conv.weight": (1488, 1, 7, 7),
        "stage6_block1.depth_conv.transform_7to5": (25, 25),
        "stage6_block1.project_norm.weight": (416,),
        "feature_mix.conv.weight": (1664, 416, 1, 1),
        "feature_mix.norm.weight": (1664,),
        "classifier.linear.weight": (1000, 1664),
    }
    assert {name: tuple(state[name].shape) for name in names} == names


def test_bottleneck_channels_are_sorted_by_the_weights_that_read_them(narrow, helpers):
    supernet = helpers.shaken(build_supernet(narrow, seed=0))
    supernet.sort_channels()
    for name, block in supernet.slots.items():
        if name.startswith("stage"):
            for reader in (block.middle_conv, block.expand_conv):
                assert (reader.weight.abs().sum((0, 2, 3)).diff() <= 1e-4).all(), name


def test_sorting_keeps_the_sets_of_trained_bottleneck_channels(narrow, helpers):
    supernet = helpers.shaken(build_supernet(narrow, seed=0))
    block = supernet.slots["stage2_block1"]
    before = block.expand_conv.weight.abs().sum((0, 2, 3))
    part = narrow.restrict(expand=[0.25, 0.35], width=[1])
    assert sorted({operator.mid_channels for operator in part.slot_operators(narrow.slots[-4])}) == [24, 32]
    supernet.sort_channels(part)
    after = block.expand_conv.weight.abs().sum((0, 2, 3))
    for section in (slice(0, 24), slice(24, 32)):
        assert torch.equal(after[section], before[section].sort(descending=True).values)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"width": [1, 0.8]}, ["space.width", "ascending"]),
        ({"width": [0]}, ["space.width.0", "greater than 0"]),
        ({"expand": []}, ["space.expand", "one or more"]),
        ({"stem_depth": [0, 2]}, ["space.stem_depth.1", "less than or equal to 1"]),
        ({"depth": [-1]}, ["space.depth.0", "greater than or equal to 0"]),
        ({"base_depths": [2, 2]}, ["base_depths needs one entry per stage: widths has 4, base_depths 2"]),
        ({"strides": [1]}, ["strides needs one entry per stage"]),
        ({"resolution": [8]}, ["resolution 8 is too small for a total stride of 32"]),
        ({"kernel": [3]}, ["space.kernel", "unknown key"]),
    ],
)
def test_mistakes_in_settings_of_a_resnet(settings, told):
    with pytest.raises(UserError) as caught:
        get_space({"name": "ofa_resnet50", **settings})
    assert all(words in str(caught.value) for words in told), str(caught.value)


def test_proxyless_knows_no_settings_of_mobilenet():
    with pytest.raises(UserError, match="squeeze_excite: unknown key"):
        get_space({"name": "ofa_proxyless_nas", "squeeze_excite": [False] * 6})


def test_equal_middles_of_the_stem_count_as_published():
    """Two of the three options of the stem's middle width are 24 channels."""
    space = get_space({"name": "ofa_resnet50", "resolution": [128]})
    rows = space.sample(1, np.random.default_rng(0)).repeat(2, axis=0)
    rows[:, [gene.name for gene in space.genes].index("width.0")] = 0, 1
    first, second = space.decode(rows)
    assert first != second and space.network(first) == space.network(second)


def test_stages_of_fewer_blocks():
    """`max_depths` takes options of depth from single stages; left out, it is no part of a space's identity."""
    space = get_space({"name": "efficientnet_lite0", "resolution": [128]})
    assert [space.genome.option_values(f"depth.{stage}").tolist() for stage in range(6)] == [
        [1, 2],
        [1, 2],
        [1, 2, 3],
        [1, 2, 3],
        [1, 2, 3, 4],
        [1],
    ]
    largest = space.decode(space.largest())[0]
    assert largest.values["depth"] == (2, 2, 3, 3, 4, 1)
    assert "max_depths" not in get_space({"name": "ofa_mobilenet_v3"}).settings
    rebuilt = SearchSpace.from_description(space.description)
    assert rebuilt.fingerprint == space.fingerprint and rebuilt.size == space.size
    with pytest.raises(UserError, match="max_depths needs one entry per stage"):
        get_space({"name": "ofa_mobilenet_v3", "max_depths": [2]})
    with pytest.raises(UserError, match=r"leaves a stage no option of depth: the least is 2"):
        get_space({"name": "ofa_mobilenet_v3", "max_depths": [1, 2, 3, 3, 3]})
    with pytest.raises(UserError, match="take apart"):
        get_space({"name": "mobilenet_v3_compound", "max_depths": [4, 4, 4, 4, 4]})
