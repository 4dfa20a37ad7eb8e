"""Run by the interpreter of an environment with PyPI's `ofa` (once-for-all), not with this project's:

    cd /tmp; PEER/bin/python .../peer_counts.py NUM SEED > published_counts.json

Draws NUM networks per space as that package samples them, and counts the parameters and the multiply-accumulates of
convolutions and linear layers on the extracted modules, in integers (its own counter sums in float32). Nothing is
downloaded, and nothing of this project is imported.
"""

from __future__ import annotations

import json
import random
import sys

import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3, OFAProxylessNASNets, OFAResNets
from torch import nn

BLOCKS = {"ks_list": [3, 5, 7], "expand_ratio_list": [3, 4, 6], "depth_list": [2, 3, 4]}
RESNET = {"depth_list": [0, 1, 2], "expand_ratio_list": [0.2, 0.25, 0.35], "width_mult_list": [0.65, 0.8, 1.0]}
SPACES = (
    ({"name": "ofa_mobilenet_v3"}, lambda: OFAMobileNetV3(width_mult=1.0, **BLOCKS), range(128, 225, 4)),
    (
        {"name": "ofa_mobilenet_v3", "width_mult": 1.2},
        lambda: OFAMobileNetV3(width_mult=1.2, **BLOCKS),
        range(128, 225, 4),
    ),
    ({"name": "ofa_proxyless_nas"}, lambda: OFAProxylessNASNets(width_mult=1.3, **BLOCKS), range(128, 225, 4)),
    (
        {"name": "ofa_proxyless_nas", "width_mult": 1.0},
        lambda: OFAProxylessNASNets(width_mult=1.0, **BLOCKS),
        range(128, 225, 4),
    ),
    ({"name": "ofa_resnet50"}, lambda: OFAResNets(dropout_rate=0, **RESNET), range(128, 257, 16)),
)


def ours(network, side):
    """The architecture as this project writes it."""
    if "w" not in network:
        return {"resolution": side, "depth": network["d"], "kernel": network["ks"], "expand": network["e"]}
    stem, *depth = network["d"]
    width = [RESNET["width_mult_list"][index] for index in network["w"]]
    stem_depth = int(stem == max(RESNET["depth_list"]))
    return {"resolution": side, "stem_depth": stem_depth, "width": width, "depth": depth, "expand": network["e"]}


def count_macs(network, side):
    total = 0

    def convolution(layer, inputs, output):
        nonlocal total
        total += output[0].numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]

    def linear(layer, inputs, output):
        nonlocal total
        total += layer.in_features * layer.out_features

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(convolution if isinstance(layer, nn.Conv2d) else linear)
    with torch.no_grad():
        network.to("meta")(torch.zeros(1, 3, side, side, device="meta"))
    return total


def main(num, seed):
    random.seed(seed)
    rows = []
    for settings, build, sides in SPACES:
        supernet = build()
        for _ in range(num):
            drawn, side = supernet.sample_active_subnet(), random.choice(list(sides))
            network = supernet.get_active_subnet(preserve_weight=False).eval()
            params = sum(parameter.numel() for parameter in network.parameters())
            rows.append([settings, ours(drawn, side), params, count_macs(network, side)])
    about = "[settings of the space, architecture, parameters, MACs] by PyPI's ofa; made by peer_counts.py, see there"
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    print(f'{{\n "about": "{about}",\n "networks": [\n  {lines}\n ]\n}}')


main(int(sys.argv[1]), int(sys.argv[2]))
