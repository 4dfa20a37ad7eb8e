"""Each augmentation does what its name says, to every image by its own numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from trainers.data.augment import Column, augment
from trainers.data.order import NUM_UNIFORMS
from trainers.settings.data import AugmentSettings

MEAN, STD = torch.zeros(3, 1, 1), torch.full((3, 1, 1), 1 / 255)  # so that the result is in 0 .. 255


def images(num: int = 6, side: int = 8, channels: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(1, 256, (num, channels, side, side), np.uint8))


def run(x: torch.Tensor, uniforms: Any = None, **settings: Any) -> torch.Tensor:
    if uniforms is None:
        uniforms = np.random.default_rng(1).random((len(x), NUM_UNIFORMS), np.float32)
    channels = x.shape[1]
    checked = AugmentSettings.model_validate(settings)
    return augment(x.clone(), uniforms, checked, mean=MEAN[:channels], std=STD[:channels])


def numbers(num: int, value: float = 0.5, **columns: float) -> Any:
    uniforms = np.full((num, NUM_UNIFORMS), value, np.float32)
    for name, number in columns.items():
        uniforms[:, Column[name]] = number
    return uniforms


def test_nothing_asked_nothing_done() -> None:
    x = images()
    assert torch.allclose(run(x), x.float(), atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {"crop_padding": 3},
        {"crop_padding": 3, "padding": "reflect"},
        {"crop_padding": 3, "padding": "edge"},
        {"flip": True, "vertical_flip": True},
        {"rotate": 180},
        {"rotate": 45, "padding": "reflect"},
        {"translate": 0.5, "padding": "edge"},
        {"scale": [0.5, 2]},
        {"shear": 45},
        {"random_resized_crop": {}},
        {"color_jitter": {"brightness": 1, "contrast": 1}},
        {"erase": {"probability": 1}},
    ],
)
def test_shape_dtype_and_range(settings: dict[str, Any], channels: int) -> None:
    x = images(32, 9, channels)
    result = run(x, **settings)
    assert result.shape == x.shape and result.dtype == torch.float32
    assert result.min() > -0.01 and result.max() < 255.01
    assert not torch.allclose(result, x.float(), atol=0.5)
    changed = (result - x.float()).abs().amax((1, 2, 3)) > 0.5
    assert changed.float().mean() > 0.5  # images get numbers of their own, but most of them change


def test_colour_range_with_hue_and_saturation() -> None:
    result = run(images(64), color_jitter={"brightness": 1, "contrast": 1, "saturation": 1, "hue": 0.5})
    assert result.min() >= -0.01 and result.max() <= 255.01


def test_flip() -> None:
    x = images()
    assert torch.allclose(run(x, numbers(6, FLIP=0.2), flip=True), x.float().flip(3), atol=1e-4)
    assert torch.allclose(run(x, numbers(6, FLIP=0.7), flip=True), x.float(), atol=1e-4)
    assert torch.allclose(run(x, numbers(6, VERTICAL_FLIP=0.2), vertical_flip=True), x.float().flip(2), atol=1e-4)


@pytest.mark.parametrize(("padding", "mode"), [("zeros", "constant"), ("edge", "edge"), ("reflect", "reflect")])
def test_padded_crop_is_a_shift(padding: str, mode: Any) -> None:
    x = images()
    corner = run(x, numbers(6, SHIFT_Y=0.0, SHIFT_X=0.999), crop_padding=2, padding=padding)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode)
    assert np.allclose(corner.numpy(), padded[:, :, :8, 4:], atol=1e-4)


def test_rotation_by_quarter_and_half_turns() -> None:
    x = images()
    quarter = run(x, numbers(6, ROTATE=1.0), rotate=90)
    turned = [torch.rot90(x.float(), turns, (2, 3)) for turns in (1, 3)]
    assert any(torch.allclose(quarter, candidate, atol=0.05) for candidate in turned)
    assert torch.allclose(run(x, numbers(6, ROTATE=1.0), rotate=180), x.float().flip(2, 3), atol=0.05)


def test_translation_by_whole_pixels() -> None:
    x = images()
    moved = run(x, numbers(6, TRANSLATE_X=1.0), translate=0.25)  # a quarter of 8 px
    assert torch.allclose(moved[..., :6], x.float()[..., 2:], atol=0.05)
    assert (moved[..., 6:] < 0.05).all()


def test_zooming_out_shows_the_padding() -> None:
    small = run(images(), numbers(6, SCALE=0.5), scale=[0.5, 0.5])
    assert (small[:, :, 0] == 0).all() and (small[:, :, 3:5, 3:5] > 0).all()


def test_random_resized_crop_of_the_top_left_quarter() -> None:
    x = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    x[:, :, :4, :4] = 200
    uniforms = numbers(2, 0.0)
    result = run(x, uniforms, random_resized_crop={"area": [0.25, 0.25], "ratio": [1, 1]})
    assert torch.allclose(result[:, :, :7, :7], torch.full((2, 3, 7, 7), 200.0), atol=0.1)  # to the rim
    uniforms[:, Column.CROP + 2 : Column.CROP + 4] = 1.0
    assert (run(x, uniforms, random_resized_crop={"area": [0.25, 0.25], "ratio": [1, 1]})[:, :, 1:, 1:] < 0.1).all()


def test_brightness_and_contrast() -> None:
    x = images().div(4, rounding_mode="floor")
    brighter = run(x, numbers(6), color_jitter={"brightness": 0.5})
    assert torch.allclose(brighter, x.float(), atol=1e-3)  # 0.5 is the middle of the range: no change
    brighter = run(x, numbers(6, COLOR=1.0), color_jitter={"brightness": 0.5})
    assert torch.allclose(brighter, x.float() * 1.5, atol=1e-3)
    uniforms = numbers(6)
    uniforms[:, Column.COLOR + 1] = 0.0
    flat = run(x, uniforms, color_jitter={"contrast": 1.0})
    luma = (x.float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1).mean((1, 2))
    assert torch.allclose(flat, luma.view(-1, 1, 1, 1).expand_as(flat), atol=1e-2)


def test_saturation_and_hue_keep_luma() -> None:
    x = images() // 4 + 96  # far from the clamps
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    uniforms = numbers(6)
    uniforms[:, Column.COLOR + 2] = 0.0
    grey = run(x, uniforms, color_jitter={"saturation": 1.0})
    assert (grey.amax(1) - grey.amin(1)).max() < 0.05
    uniforms = numbers(6)
    uniforms[:, Column.COLOR + 3] = 0.9
    turned = run(x, uniforms, color_jitter={"hue": 0.25})
    assert torch.allclose((turned * weights).sum(1), (x.float() * weights).sum(1), atol=0.1)
    assert (turned - x.float()).abs().max() > 5


def test_erasing_sets_a_rectangle_to_the_mean() -> None:
    x = images(16, 20)
    result = run(x, erase={"probability": 1.0, "area": [0.25, 0.25], "ratio": [1, 1]})
    erased = (result == 0).all(1)
    assert (erased.flatten(1).sum(1) == 100).all()  # a quarter of 20 x 20
    assert all(len(set(mask.any(0).nonzero().flatten().diff().tolist())) == 1 for mask in erased)  # connected columns
    assert torch.allclose(run(x, erase={"probability": 0.0}), x.float(), atol=1e-3)
