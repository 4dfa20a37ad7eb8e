"""Every family, and every piece of the transformers, in the forms of LiteRT, ExecuTorch and Ethos-U."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from ofa.export.forms.base import Source
from ofa.export.forms.registry import get_form
from ofa.export.verify import verify_forms
from search_spaces import Architecture, get_space
from search_spaces.common.errors import UserError
from search_spaces.supernet import build_supernet
from tests.ofa.export.test_families import SPACES

_VIT = {
    "name": "vit_nano",
    "resolution": [16],
    "patch": [4],
    "embed": [32],
    "depth": [2],
    "heads": [2],
    "mlp": [2],
    "head_dim": 8,
    "selects": [],
    "keep": [1],
}

#: space, and what differs from its largest network
NETWORKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mobilenet_v3": ({"name": "mobilenet_v3_digits", "resolution": [20], "depth": [1]}, {}),
    **{name: (settings, {}) for name, settings in SPACES.items() if name != "vision_transformer"},
    **{form: (_VIT, {"attention": (form, form)}) for form in ("softmax", "linear", "hilo", "convolution")},
    "low rank": (_VIT, {"attention_rank": (0.5, 0.5), "mlp_rank": (0.25, 0.25)}),
    "dropped tokens": ({**_VIT, "selects": [1], "keep": [0.5], "attention": ["softmax"]}, {}),
    "class token": ({**_VIT, "class_token": True, "attention": ["softmax"]}, {}),
}
#: (form, network): what the form says of it
REFUSED = {("ethos-u", "dropped tokens"): "has the operator TOPK_V2"}


def network_of(name: str) -> tuple[GraphModule, tuple[int, int, int], bool]:
    """A network with weights as large as trained ones and BN statistics of random images, its input shape, and whether
    rounding may decide what it computes.
    """
    settings, others = NETWORKS[name]
    space = get_space(settings, num_classes=5)
    (largest,) = space.decode(space.largest())
    architecture = Architecture({**largest.values, **others})
    space.encode([architecture])
    network = build_supernet(space, seed=0).extract(architecture)
    shape = (space.in_channels, architecture.resolution, architecture.resolution)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter_name, weight in network.named_parameters():
            if weight.ndim == 2:  # of linear layers and positions, which begin so small that 8 bits drown them
                side = 1 if parameter_name.endswith("places") else weight.shape[1]
                weight.normal_(0, side**-0.5, generator=generator)
        for _ in range(20):
            network.train()(random_images(32, shape))
    return network.eval(), shape, any(operator.has_ties for _, operator in space.network(architecture))


def random_images(num: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(1))


def check(form: str, name: str, folder: Path) -> None:
    """That the form computes what the network does, or says why not; a form in integers by what exports ask of it."""
    network, shape, ties = network_of(name)
    images = random_images(64, shape)
    source = Source(network, shape, images)
    if (reason := REFUSED.get((form, name))) is not None:
        with pytest.raises(UserError, match=reason):
            get_form(form).write(source, folder)
        assert list(folder.iterdir()) == []
        return
    get_form(form).write(source, folder)
    found = verify_forms(network, images, folder=folder, forms=(form,), tolerance=1e-4, ties=ties)[form]
    assert found.num_images == 64


@pytest.mark.parametrize("name", NETWORKS)
def test_tflite(name: str, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    check("tflite", name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("form", "package"),
    [
        ("tflite-int8", "ai_edge_litert"),
        ("ethos-u", "ethosu.vela"),
        ("executorch", "executorch"),
        ("executorch-int8", "executorch"),
    ],
)
def test_the_other_forms(form: str, package: str, name: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    check(form, name, tmp_path)
