"""State dicts as published: `.pth` files written by torch.save. Tensors are read, nothing else in the file is run."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ofa.imports.names import is_counter, modern
from search_spaces.common.errors import UserError
from search_spaces.common.files import write_bytes

#: what a file names that is no tensor: "GLOBAL posix.system", "add_safe_globals([numpy._core.multiarray.scalar])"
_FOREIGN = (re.compile(r"add_safe_globals\(\[([\w.]+)\]\)"), re.compile(r"GLOBAL ([\w.]+)"))


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict file by their names in today's spelling: weights float32, counters as they are.

    A `{"state_dict": ...}` around it and the prefix `module.` of DataParallel are taken off. Raises `UserError` for a
    file that is missing, truncated or no state dict, that refers to anything but tensors, or whose weights are not
    finite.
    """
    content = _load(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError("not a state dict: holds no tensors by name", file=path, value=type(content).__name__)
    tensors: dict[str, Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            hint = f"It is of type {type(value).__name__}; expected a state dict, or one under the key 'state_dict'"
            raise UserError("not a tensor", file=path, key=str(name), hint=hint)
        if modern(name) in tensors:
            raise UserError("is there twice, in an old and a new spelling", file=path, key=modern(name))
        tensors[modern(name)] = _checked(value, name, path)
    return tensors


def write_state_dict(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `{"state_dict": tensors}`, the form of the published files."""
    stream = io.BytesIO()
    torch.save({"state_dict": {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}}, stream)
    write_bytes(path, stream.getvalue())


def _load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about files that it then refuses
            return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise UserError("no such checkpoint", file=path) from None
    except IsADirectoryError:
        raise UserError("is a folder, not a checkpoint", file=path) from None
    except PermissionError as error:
        raise UserError(f"this checkpoint cannot be read: {error.strerror}", file=path) from error
    except Exception as error:  # zip, pickle and torch raise several kinds for files that are not whole
        foreign = next((match[1] for pattern in _FOREIGN if (match := pattern.search(str(error)))), None)
        if foreign is None or foreign.startswith("torch._utils._rebuild"):  # the name of a cut-off file is cut off too
            raise UserError(
                "truncated, damaged or not a file of torch.save", file=path, hint="Nothing was read from it"
            ) from None
        raise UserError(
            f"holds more than tensors: it refers to {foreign}, which loading would have to run",
            file=path,
            hint="Nothing was run. Where the file comes from, save the state dict alone: torch.save(net.state_dict())",
        ) from None


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
