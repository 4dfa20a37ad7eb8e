"""What transformers have beyond the conformance suite: grids, patches of several sizes, mistakes in settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from search_spaces import Architecture, get_space
from search_spaces.common.errors import UserError
from search_spaces.elastic.tokens import ElasticPatchConv2d, places_on_grid
from search_spaces.supernet import build_supernet


@torch.no_grad()
def test_networks_that_differ_in_their_grid_only() -> None:
    """A convolution over tokens knows the side of its grid: no network is run in the shape of another."""
    space = get_space({"name": "vit_nano", "resolution": [16, 24, 32], "attention": ["convolution"], "depth": [3]}, 10)
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


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"patch": [5]}, "patch must divide resolution: patches of 5 px do not fill 32 px"),
        ({"attention": ["softmax", "softmax"]}, "without repeats"),
        ({"attention": ["sofmax"]}, "must be 'softmax', 'linear' or 'convolution'"),
        ({"class_token": True}, "a convolution has no place for a class token"),
        ({"attention_rank": [0.5, 1.5]}, "attention_rank.1: must be less than or equal to 1"),
        ({"heads": [0, 2]}, "heads.0: must be greater than or equal to 1"),
        ({"mlp": [2, 1]}, "ascending"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        get_space({"name": "vit_nano"} | settings, 10)
