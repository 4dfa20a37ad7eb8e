"""Files of `torch.save` that hold named tensors. Tensors are read; nothing else in such a file is ever run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_spaces.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

#: what a file names that is no tensor: "GLOBAL posix.system", "add_safe_globals([numpy._core.multiarray.scalar])"
_FOREIGN = (re.compile(r"add_safe_globals\(\[([\w.]+)\]\)"), re.compile(r"GLOBAL ([\w.]+)"))


def read_state_dict_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by their names in the file; a `{"state_dict": ...}` around it is taken off.

    Raises `UserError` for a file that is missing, unreadable, truncated or no state dict, or that refers to anything
    but tensors.
    """
    from torch import Tensor

    content = _load(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise UserError("not a state dict: holds no tensors by name", file=path, value=type(content).__name__)
    if strange := {str(n): v for n, v in content.items() if not isinstance(n, str) or not isinstance(v, Tensor)}:
        kinds = sorted({type(value).__name__ for value in strange.values()})
        hint = f"Of type {', '.join(kinds)}; expected a state dict, or one under the key 'state_dict'"
        raise UserError(
            f"not {'a tensor' if len(strange) == 1 else 'tensors'}", file=path, key=", ".join(strange), hint=hint
        )
    return dict(content)


def _load(path: Path) -> Any:
    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about files that it then refuses
            return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise UserError("no such file", file=path) from None
    except IsADirectoryError:
        raise UserError("is a folder, not a file", file=path) from None
    except PermissionError as error:
        raise UserError(f"cannot be read: {error.strerror}", file=path) from error
    except Exception as error:  # zip, pickle and torch raise several kinds (OSError too) for files that are not whole
        foreign = next((match[1] for pattern in _FOREIGN if (match := pattern.search(str(error)))), None)
        if foreign is None or foreign.startswith("torch._utils._rebuild"):  # the name of a cut-off file is cut off too
            raise UserError("truncated, damaged or not a file of torch.save", file=path) from None
        raise UserError(
            f"holds more than tensors: it refers to {foreign}, which loading would have to run",
            file=path,
            hint="Nothing was run. Where the file comes from, save the state dict alone: torch.save(net.state_dict())",
        ) from None
