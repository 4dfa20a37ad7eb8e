"""How functions between layers are written: those of torch and Python's operators."""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.nn.functional as F

from search_spaces.common.errors import UserError

INFIX = {operator.add: "+", operator.mul: "*", operator.truediv: "/", operator.matmul: "@", operator.sub: "-"}
INFIX |= {torch.add: "+", torch.mul: "*", torch.matmul: "@"}


def function(target: Any, where: str) -> str:
    """`torch.cat`, `F.relu`, `+`, or `[]`. Raises `UserError` for any that is none of torch's, naming `where`."""
    if target in INFIX:
        return INFIX[target]
    if target is operator.getitem:
        return "[]"
    name = getattr(target, "__name__", str(target))
    for module, prefix in ((torch, "torch"), (F, "F")):
        if getattr(module, name, None) is target:
            return f"{prefix}.{name}"
    raise UserError(f"the function {name} is none of torch's, and cannot be written as code", key=where)
