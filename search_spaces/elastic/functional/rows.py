"""Channels-last images as matrices of pixels, and the products of these."""

from __future__ import annotations

import torch
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def as_rows(x_BCHW: Tensor) -> Tensor:
    """(B H W, C), without a copy."""
    return x_BCHW.permute(0, 2, 3, 1).reshape(-1, x_BCHW.shape[1])


def add_product(target_DC: Tensor, left_ND: Tensor, right_NC: Tensor) -> None:
    """target += left' right."""
    if _in_parts(left_ND, right_NC):
        target_DC.add_(product_over_rows(left_ND, right_NC))
    else:
        target_DC.addmm_(left_ND.t(), right_NC)


def product_over_rows(left_ND: Tensor, right_NC: Tensor) -> Tensor:
    """left' right (D, C). Where N is long and the result small, BLAS leaves threads idle: then each takes a part."""
    parts = _in_parts(left_ND, right_NC)
    if not parts:
        return left_ND.t() @ right_NC
    left, right = (rows.view(parts, len(rows) // parts, rows.shape[1]) for rows in (left_ND, right_NC))
    return torch.bmm(left.transpose(1, 2), right).sum(dim=0)


def sum_of_rows(rows_NC: Tensor) -> Tensor:
    """(C,), as a product with ones: on all threads."""
    return rows_NC.t() @ rows_NC.new_ones(len(rows_NC))


def _in_parts(left_ND: Tensor, right_NC: Tensor) -> int:
    """Into how many parts a product over the rows is best cut; 0 for none."""
    parts, num = torch.get_num_threads(), len(right_NC)
    small = left_ND.shape[1] * right_NC.shape[1] <= 10_000
    return parts if parts > 1 and num % parts == 0 and num >= 2048 and small and left_ND.is_cpu else 0


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
