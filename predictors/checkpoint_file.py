"""The `.pth` files that published accuracy predictors come in: a chain of linear layers under one of two namings.

`tutorial`: an `nn.Sequential` of linear layers and ReLU (`0.weight`, `0.bias`, `2.weight`, ...). `library`: hidden
layers `layers.0.0.weight`, `layers.0.0.bias`, ..., a last one without bias (`layers.3.weight`) and `base_acc`, which is
added to its output. Either may be wrapped in `{"state_dict": ...}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from predictors.relu_mlp import ReluMLP
from search_spaces.common.errors import UserError
from search_spaces.common.files import file_digest
from search_spaces.common.state_dicts import read_state_dict_file

if TYPE_CHECKING:
    import torch

Naming = Literal["tutorial", "library"]

_FORMS = "Known: 0.weight, 0.bias, 2.weight, ..., or base_acc, layers.0.0.weight, layers.0.0.bias, ..., layers.N.weight"


@dataclass(frozen=True)
class PredictorCheckpoint:
    """A published network and how its file names it."""

    path: Path
    sha256: str
    naming: Naming
    model: ReluMLP


def read_checkpoint(path: Path | str) -> PredictorCheckpoint:
    """Read a file; `UserError` for one that is damaged, holds anything but tensors, or is no such network."""
    path = Path(path)
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_state_dict_file(path).items()}
    naming = _naming(tensors, path)
    names = _layers(tensors, naming, path)
    arrays = {name: _array(name, tensor, path) for name, tensor in tensors.items()}
    if strange := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise UserError(f"not finite: {', '.join(strange)}", file=path)
    weights = tuple(arrays[weight] for weight, _ in names)
    biases = tuple(arrays[bias] for _, bias in names)
    _check_shapes(names, weights, biases, path)
    return PredictorCheckpoint(path, file_digest(path), naming, ReluMLP(weights, biases))


def _naming(tensors: Mapping[str, Any], path: Path) -> Naming:
    fits: dict[Naming, int] = {
        "tutorial": sum(re.fullmatch(r"\d+\.(weight|bias)", name) is not None for name in tensors),
        "library": sum(
            re.fullmatch(r"base_acc|layers(\.\d+){1,2}\.(weight|bias)", name) is not None for name in tensors
        ),
    }
    naming = max(fits, key=lambda form: fits[form])
    if not fits[naming]:
        unknown = f"is no accuracy predictor of a known form: unknown tensors {_listed(sorted(tensors))}"
        raise UserError(unknown, file=path, hint=_FORMS)
    return naming


def _layers(tensors: Mapping[str, Any], naming: Naming, path: Path) -> list[tuple[str, str]]:
    """The names of weight and bias of every layer, all of which are there and nothing else."""
    found = (re.match(r"(?:layers\.)?(\d{1,4})\.", name) for name in tensors)
    numbers = [int(match[1]) for match in found if match]
    if naming == "tutorial":
        names = [(f"{number}.weight", f"{number}.bias") for number in range(0, max(numbers, default=0) + 1, 2)]
    else:
        last = max(numbers, default=0)
        names = [(f"layers.{number}.0.weight", f"layers.{number}.0.bias") for number in range(last)]
        names.append((f"layers.{last}.weight", "base_acc"))
    wanted = {name for pair in names for name in pair}
    problems = [
        f"{what} {_listed(sorted(group))}"
        for what, group in (("missing", wanted - set(tensors)), ("unknown", set(tensors) - wanted))
        if group
    ]
    if problems:
        raise UserError(f"is no accuracy predictor of the {naming} form: {'; '.join(problems)}", file=path, hint=_FORMS)
    return names


def _array(name: str, tensor: torch.Tensor, path: Path) -> npt.NDArray[np.float32]:
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise UserError(f"{name} is not a plain tensor", file=path)
    if not tensor.dtype.is_floating_point:
        raise UserError(f"{name} is of type {tensor.dtype}, not floating-point", file=path)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(tensor.detach().to(torch.float32).numpy())


def _check_shapes(
    names: list[tuple[str, str]],
    weights: tuple[npt.NDArray[np.float32], ...],
    biases: tuple[npt.NDArray[np.float32], ...],
    path: Path,
) -> None:
    """Each layer takes what the one before gives, and the last gives one number."""
    problems = []
    inputs: int | None = None  # of the next layer, once it is known
    for number, ((weight_name, bias_name), weight, bias) in enumerate(zip(names, weights, biases, strict=True)):
        last = number == len(names) - 1
        if (
            weight.ndim != 2
            or 0 in weight.shape
            or inputs not in (None, weight.shape[1])
            or (last and len(weight) != 1)
        ):
            wanted = f"[{1 if last else 'units'}, {'inputs' if inputs is None else inputs}]"
            problems.append(f"{weight_name} {list(weight.shape)}, not {wanted}")
        inputs = int(weight.shape[0]) if weight.ndim else None
        if bias.shape != (inputs,):
            problems.append(f"{bias_name} {list(bias.shape)}, not [{inputs}]")
    if problems:
        raise UserError(f"shapes do not fit: {'; '.join(problems)}", file=path)


def _listed(names: list[str], limit: int = 40) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
