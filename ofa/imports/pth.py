"""State dicts as published: `.pth` files written by torch.save. Tensors are read, nothing else in the file is run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ofa.imports.names import is_counter, modern
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes
from search_spaces.common.state_dicts import read_state_dict_file


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict file by their names in today's spelling: weights float32, counters as they are.

    A `{"state_dict": ...}` around it and the prefix `module.` of DataParallel are taken off. Raises `UserError` for a
    file that is missing, truncated or no state dict, that refers to anything but tensors, or whose weights are not
    finite.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in read_state_dict_file(path).items():
        if modern(name) in tensors:
            raise UserError("is there twice, in an old and a new spelling", file=path, key=modern(name))
        tensors[modern(name)] = _checked(value, name, path)
    return tensors


def write_state_dict(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `{"state_dict": tensors}`, the form of the published files."""
    stream = io.BytesIO()
    torch.save({"state_dict": {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}}, stream)
    write_bytes(path, stream.getvalue())


def _checked(tensor: Tensor, name: str, path: Path) -> Tensor:
    if is_counter(name):
        return tensor
    if not tensor.is_floating_point():
        raise UserError("weights must be floating-point numbers", file=path, key=name, value=str(tensor.dtype))
    tensor = tensor.float()
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise UserError(f"{bad} of {tensor.numel()} numbers are not finite (NaN or infinity)", file=path, key=name)
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise UserError("a variance below zero", file=path, key=name, value=float(tensor.min()))
    return tensor
