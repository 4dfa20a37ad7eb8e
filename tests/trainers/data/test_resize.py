from __future__ import annotations

import torch

from trainers.data import resize_batch


def test_identity_shape_and_mean() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert resize_batch(x, 16) is x
    for side in (8, 12, 20):
        resized = resize_batch(x, side)
        assert resized.shape == (2, 3, side, side)
        assert resized.min() >= x.min() and resized.max() <= x.max()
    assert torch.allclose(resize_batch(torch.full((1, 1, 9, 9), 0.25), 5), torch.full((1, 1, 5, 5), 0.25))


def test_shrinking_is_antialiased() -> None:
    checkerboard = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float()[None, None]
    assert (resize_batch(checkerboard, 4)[..., 1:-1, 1:-1] - 0.5).abs().max() < 0.1
