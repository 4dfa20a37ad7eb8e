"""The converters take the layers of the other families too (`test_forms` is about MobileNetV3), odd maps and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from ofa.export.forms.base import Source
from ofa.export.forms.registry import get_form
from search_spaces import Architecture, get_space
from search_spaces.registry import FAMILIES
from search_spaces.supernet import build_supernet

SPACES: dict[str, dict[str, Any]] = {
    "proxyless_nas": {
        "name": "ofa_proxyless_nas",
        "width_mult": 0.25,
        "resolution": [20],
        "depth": [1],
        "widths": [24, 40],
        "strides": [2, 2],
        "feature_channels": 64,
    },
    "resnet": {
        "name": "ofa_resnet50",
        "resolution": [36],
        "depth": [0],
        "stem_channels": 16,
        "widths": [32, 48],
        "strides": [1, 2],
        "base_depths": [1, 1],
    },
    "hybrid": {
        "name": "hybrid_nano",
        "resolution": [18],
        "depth": [1],
        "widths": [8, 16],
        "layers": [1, 2],
        "embed": [16, 24],
        "heads": [1, 2],
        "mlp": [1, 2],
        "head_dim": 8,
    },
    "vision_transformer": {
        "name": "vit_nano",
        "resolution": [16],
        "patch": [4, 8],
        "embed": [16, 24],
        "depth": [1, 2],
        "heads": [2],
        "mlp": [1, 2],
        "head_dim": 8,
        "selects": [2],
    },
}
#: forms of attention that the largest network does not have
OTHER_FORMS = {"attention": ("hilo", "linear"), "keep": (0.5,)}


def test_every_family_is_here() -> None:
    assert {*SPACES, "mobilenet_v3"} == set(FAMILIES)


def network_of(family: str) -> tuple[GraphModule, tuple[int, int, int]]:
    """The largest network of a family's smallest space, with statistics of batch norms, and its input shape."""
    space = get_space(SPACES[family], num_classes=5)
    (architecture,) = space.decode(space.largest())
    if family == "vision_transformer":
        architecture = Architecture({**architecture.values, **OTHER_FORMS})
    network = build_supernet(space, seed=0).eval().extract(architecture)
    generator = torch.Generator().manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
    side = space.settings["resolution"][0]
    return network, (3, side, side)


@pytest.mark.parametrize("form", ["onnx", "pt2", "timm", pytest.param("aoti", marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", SPACES)
def test_a_form_computes_what_the_network_does(form: str, family: str, tmp_path: Path) -> None:
    network, shape = network_of(family)
    get_form(form).write(Source(network, shape), tmp_path)
    images = torch.randn(7, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = network(images), get_form(form).load(tmp_path)(images)
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize(("form", "least_db"), [("onnx-fp16", 40), ("onnx-int8", 12)])
@pytest.mark.parametrize("family", SPACES)
def test_a_form_that_rounds_stays_near(form: str, least_db: float, family: str, tmp_path: Path) -> None:
    network, shape = network_of(family)
    images = torch.randn(16, *shape, generator=torch.Generator().manual_seed(1))
    if (form, family) == (
        "onnx-int8",
        "vision_transformer",
    ):  # those that drop tokens keep others where scores are close
        least_db = 3
    get_form(form).write(Source(network, shape, images), tmp_path)
    with torch.no_grad():
        expected, found = network(images), get_form(form).load(tmp_path)(images)
    power = (expected - expected.mean(dim=1, keepdim=True)).square().mean()
    assert 10 * torch.log10(power / (found - expected).square().mean()) > least_db
