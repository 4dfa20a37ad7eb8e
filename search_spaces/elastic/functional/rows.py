"""Channels-last images as matrices of pixels, and the products of these."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def as_rows(x_BCHW: Tensor) -> Tensor:
    """(B H W, C), without a copy."""
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])


def add_product(target_DC: Tensor, gradient_ND: Tensor, x_NC: Tensor) -> None:
    """target += gradient' x. Where N is long and the result small, BLAS leaves all but one thread idle: each takes a
    part.
    """
    parts, num = torch.get_num_threads(), len(x_NC)
    if parts > 1 and num % parts == 0 and num >= 2048 and target_DC.numel() <= 10_000:
        left, right = (rows.view(parts, num // parts, rows.shape[1]) for rows in (gradient_ND, x_NC))
        target_DC.add_(torch.bmm(left.transpose(1, 2), right).sum(dim=0))
    else:
        target_DC.addmm_(gradient_ND.t(), x_NC)


def product(x_BCHW: Tensor, matrix_CD: Tensor, shift_D: Tensor | None) -> Tensor:
    """(B, D, H, W): every pixel times `matrix`, plus `shift`."""
    batch, _, height, width = x_BCHW.shape
    shape = batch, matrix_CD.shape[1], height, width
    y = torch.empty(shape, dtype=x_BCHW.dtype, device=x_BCHW.device, memory_format=torch.channels_last)
    if shift_D is None:
        torch.mm(as_rows(x_BCHW), matrix_CD, out=as_rows(y))
    else:
        torch.addmm(shift_D, as_rows(x_BCHW), matrix_CD, out=as_rows(y))
    return y
