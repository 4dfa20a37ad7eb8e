"""What transformers have beyond the conformance suite: grids, patches of several sizes, mistakes in settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search_spaces import Architecture, SearchSpace, get_space
from search_spaces.common.errors import UserError
from search_spaces.elastic.tokens import ElasticPatchConv2d, places_on_grid
from search_spaces.operators import Attention
from search_spaces.plain import build_operator
from search_spaces.supernet import build_supernet


@torch.no_grad()
def test_networks_that_differ_in_their_grid_only() -> None:
    """A convolution over tokens knows the side of its grid: no network is run in the shape of another."""
    space = get_space(
        {
            "name": "vit_nano",
            "resolution": [16, 24, 32],
            "attention": ["convolution"],
            "depth": [3],
            "selects": [],
            "keep": [1],
        },
        10,
    )
    supernet = build_supernet(space, seed=0).eval()
    for parameter in supernet.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    (largest,) = space.decode(space.largest())
    for side in (32, 16, 24):
        for patch in (4, 8):
            architecture = Architecture({**largest.values, "resolution": side, "patch": patch})
            x = torch.randn(2, 3, side, side)
            expected = supernet(x, architecture)
            torch.testing.assert_close(supernet.extract(architecture)(x), expected, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(supernet.extract(architecture, share=True)(x), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_larger_patch_sees_an_enlarged_image_as_the_smallest_sees_the_image() -> None:
    conv = ElasticPatchConv2d(3, 8, [4, 6, 8])
    x = torch.randn(2, 3, 4, 4)
    for patch in (6, 8):
        enlarged = torch.nn.functional.interpolate(x, (patch, patch), mode="bicubic", antialias=True)
        torch.testing.assert_close(conv(enlarged, 8, patch), conv(x, 8, 4), rtol=1e-4, atol=1e-4)


def test_places_keep_their_class_token() -> None:
    places = torch.randn(1 + 36, 5)
    assert places_on_grid(places, 6, 6) is places
    assert torch.equal(places_on_grid(places, 6, 4)[0], places[0]) and places_on_grid(places, 6, 4).shape == (17, 5)


#: embedding, MLP and heads block by block of the networks that AutoFormer reports (its configuration files), and their
#: parameters in millions (https://arxiv.org/abs/2107.00651, and its page): relative positions, 0.2 to 1.7 %, included
AUTOFORMER = {
    "tiny": (
        192,
        [3.5, 3.5, 3, 3.5, 3, 3, 4, 4, 3.5, 4, 3.5, 4, 3.5],
        [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3],
        5.8,
    ),
    "small": (384, [3, 3.5, 3, 3.5, 4, 4, 4, 4, 4, 4, 4, 3.5, 4], [6, 6, 5, 7, 5, 5, 5, 6, 6, 7, 7, 6, 7], 22.9),
    "base": (
        576,
        [3.5, 3.5, 4, 3.5, 4, 3.5, 3.5, 3, 4, 4, 3, 4, 3, 3.5],
        [9, 9, 9, 9, 9, 10, 9, 9, 10, 9, 10, 9, 9, 10],
        53.7,
    ),
}


@pytest.mark.parametrize("size", AUTOFORMER)
def test_parameters_of_the_networks_that_autoformer_reports(size: str) -> None:
    embed, mlp, heads, published = AUTOFORMER[size]
    space = get_space({"name": f"autoformer_{size}", "mlp": [3, 3.5, 4]})
    num, num_blocks = len(mlp), max(space.settings["depth"])
    beyond = (None,) * (num_blocks - num)
    per_block = {"attention": ("softmax",) * num, "attention_rank": (1,) * num, "mlp_rank": (1,) * num}
    whole = {"resolution": 224, "patch": 16, "embed": embed, "depth": num}
    values = {"heads": tuple(heads), "mlp": tuple(mlp), **per_block}
    architecture = Architecture(whole | {group: (*entries, *beyond) for group, entries in values.items()})
    (params,) = space.cost("params").evaluate(space.encode([architecture]))
    assert params / 1e6 == pytest.approx(published, rel=0.01)


def nano(**settings: Any) -> SearchSpace:
    return get_space({"name": "vit_nano", "patch": [4], "depth": [3], "selects": [2], **settings}, 10)


def block_of(space: SearchSpace, **wanted: Any) -> tuple[Attention, nn.Module]:
    """An attention block of the space with these fields, with weights that matter, alone."""
    operator = next(
        op
        for op in space.operators().values()
        if isinstance(op, Attention) and all(getattr(op, name) == value for name, value in wanted.items())
    )
    torch.manual_seed(0)
    module = build_operator(operator).eval()
    for parameter in module.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    return operator, module


@torch.no_grad()
def test_hilo_looks_at_averages_of_windows_and_within_windows() -> None:
    operator, module = block_of(nano(attention=["hilo", "softmax"]), form="hilo", heads=3, rank=0)
    x = torch.randn(2, 64, operator.in_channels)
    normed = module.norm(x)
    averages = torch.stack([normed[:, (w // 4 * 2 + r) * 8 + w % 4 * 2 + c] for w in range(16) for r, c in CORNERS], 1)
    averages = averages.unflatten(1, (16, 4)).mean(2)
    far, near = torch.empty(2, 64, 32), torch.empty(2, 64, 16)
    for token in range(64):
        window = token // 8 // 2 * 4 + token % 8 // 2
        others = [(window // 4 * 2 + r) * 8 + window % 4 * 2 + c for r, c in CORNERS]
        for head in range(3):
            layers, seen = ("near", normed[:, others]) if head == 2 else ("far", averages)
            part = slice(0, 16) if head == 2 else slice(16 * head, 16 * head + 16)
            query = getattr(module.query, layers)(normed[:, token])[:, part]
            key, value = (getattr(layer, layers)(seen)[..., part] for layer in (module.key, module.value))
            weights = (torch.einsum("bd,bnd->bn", query, key) / 4).softmax(dim=1)
            (near if head == 2 else far)[:, token, part] = torch.einsum("bn,bnd->bd", weights, value)
    expected = x + module.project(torch.cat([far, near], dim=2))
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("form", ["softmax", "linear"])
@torch.no_grad()
def test_tokens_with_the_most_attention_are_kept(form: str, class_token: bool) -> None:
    space = nano(attention=["softmax", "linear"], class_token=class_token)
    operator, module = block_of(space, form=form, drops=32, rank=0)
    x = torch.randn(3, 64 + class_token, operator.in_channels)
    query, key = (layer(module.norm(x)).unflatten(-1, (-1, 16)) for layer in (module.query, module.key))
    if form == "softmax":
        weights = (torch.einsum("bqhd,bkhd->bhqk", query, key) / 4).softmax(dim=-1)
    else:
        weights = torch.einsum("bqhd,bkhd->bhqk", query.relu(), key.relu())
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-6)
    got = (weights[:, :, 0] if class_token else weights.mean(dim=2)).mean(dim=1)
    if class_token:
        got[:, 0] = torch.inf
    whole = build_operator(replace(operator, drops=0)).eval()
    whole.load_state_dict(module.state_dict())
    expected, found = whole(x), module(x)
    assert found.shape == (3, 32 + class_token, operator.in_channels) == (3, *operator.output_shape)
    for image in range(3):
        kept = got[image].topk(32 + class_token).indices
        torch.testing.assert_close(found[image], expected[image, kept], rtol=1e-4, atol=1e-5)


def test_blocks_without_a_whole_grid_have_no_forms_that_need_one() -> None:
    space = get_space({"name": "vit_nano"}, 10)
    forms = [space.genome.options(f"attention.{block}") for block in range(6)]
    assert forms == [("softmax", "linear", "hilo", "convolution")] * 2 + [("softmax", "linear")] * 4
    row = space.encode(space.decode(space.largest()))[0]
    tokens = {name: op.num_tokens for name, op in space.network(_with_keep(space, row, (0.5, 0.5)))[1:]}
    assert [tokens[f"block{block}_mlp"] for block in range(1, 7)] == [64, 64, 32, 32, 16, 16]
    assert [tokens[f"block{block}_attention"] for block in range(1, 7)] == [64, 64, 64, 32, 32, 16]
    assert tokens["classifier"] == 16


def test_blocks_beyond_the_depth_select_nothing() -> None:
    space = get_space({"name": "vit_nano", "depth": [3, 4]}, 10)
    assert [gene.name for gene in space.genes if gene.name.startswith("keep")] == ["keep.0"]
    space = get_space({"name": "vit_nano", "depth": [2]}, 10)
    assert not [gene.name for gene in space.genes if gene.name.startswith("keep")]
    assert space.genome.options("attention.1") == ("softmax", "linear", "hilo", "convolution")


def _with_keep(space: SearchSpace, row: np.ndarray, keep: tuple[float, ...]) -> Architecture:
    (architecture,) = space.decode(row[None])
    return Architecture({**architecture.values, "keep": keep})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": [1, 2]}, "hilo has heads of two kinds: heads must be 2 or more"),
        ({"resolution": [24], "patch": [8]}, "an even number of rows, not one of 3x3 tokens"),
        ({"attention": ["convolution"]}, "blocks that select tokens need softmax or linear attention"),
        ({"selects": []}, "no block selects tokens: name some in selects"),
        ({"keep": [0, 1]}, "keep.0: must be greater than 0"),
        ({"patch": [5]}, "patch must divide resolution: patches of 5 px do not fill 32 px"),
        ({"attention": ["softmax", "softmax"]}, "without repeats"),
        ({"attention": ["sofmax"]}, "must be 'softmax', 'linear', 'hilo' or 'convolution'"),
        ({"class_token": True}, "hilo has no place for a class token"),
        ({"attention_rank": [0.5, 1.5]}, "attention_rank.1: must be less than or equal to 1"),
        ({"heads": [0, 2]}, "heads.0: must be greater than or equal to 1"),
        ({"mlp": [2, 1]}, "ascending"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        get_space({"name": "vit_nano"} | settings, 10)
