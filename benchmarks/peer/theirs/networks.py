"""The peer's MobileNetV3 supernet, set up as its training script does."""

from __future__ import annotations

from typing import Any

import torch
from ofa.imagenet_classification.elastic_nn.modules.dynamic_op import DynamicSeparableConv2d
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.utils import init_models

#: ks, e, d of a subnet, and `r` (a list of one resolution)
Subnet = dict[str, Any]


def supernet(width_mult: float = 1.0, num_classes: int = 1000) -> OFAMobileNetV3:
    """Fresh weights, all kernel sizes, expand ratios and depths, kernel transformation on."""
    torch.manual_seed(0)
    DynamicSeparableConv2d.KERNEL_TRANSFORM_MODE = 1
    network = OFAMobileNetV3(
        n_classes=num_classes,
        bn_param=(0.1, 1e-5),
        dropout_rate=0.1,
        width_mult=width_mult,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    )
    init_models(network, "he_fout")
    return network


def activate(network: OFAMobileNetV3, subnet: Subnet) -> None:
    network.set_active_subnet(ks=subnet["ks"], e=subnet["e"], d=subnet["d"])


def extracted(network: OFAMobileNetV3, subnet: Subnet) -> torch.nn.Module:
    """The subnet with its own copy of the weights."""
    activate(network, subnet)
    return network.get_active_subnet(preserve_weight=True)
