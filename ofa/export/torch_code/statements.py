"""The body of a `forward`: the steps of a block as Python, short chains of them in one expression."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable
from typing import Any

from torch import nn

from ofa.export.torch_code.blocks import Block, Ref
from ofa.export.torch_code.functions import INFIX, function
from ofa.export.torch_code.layers import is_activation

#: layers that are written around what they take
_FOLLOWERS = (nn.BatchNorm2d, nn.Dropout, nn.Flatten, nn.AvgPool2d, nn.ZeroPad2d, nn.ConstantPad1d)
#: steps in one expression, at most
_DEEPEST = 4

#: (number of a step, where among its arguments, the number there) -> how it is written
Number = Callable[[int, tuple[Any, ...], Any], str]


def statements(block: Block, number: Number) -> tuple[list[str], str]:
    """Lines that compute the block's value from `x`, but for the last expression, which comes second."""
    return _Writer(block, number).lines()


def literal(value: Any) -> str:
    """Python for a constant."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float) and math.isinf(value):
        return f'float("{value}")'
    if isinstance(value, tuple):
        return f"({', '.join(literal(part) for part in value)}{',' if len(value) == 1 else ''})"
    return repr(value)


class _Writer:
    def __init__(self, block: Block, number: Number) -> None:
        self.block, self.number = block, number
        self.users: dict[int, list[int]] = {-1: []}
        for index, step in enumerate(block.steps):
            self.users[index] = []
            for ref in step.refs():
                self.users[ref.step].append(index)
        self.inlined: set[int] = set()
        depths: dict[int, int] = {}
        for index, step in enumerate(block.steps):
            own = 1 if step.kind != "function" or step.target in INFIX else 2
            depths[index] = own + max((depths[ref.step] for ref in step.refs() if ref.step in self.inlined), default=0)
            if self._is_inlined(index, depths[index]):
                self.inlined.add(index)
        self.text: dict[int, str] = {-1: "x"}
        self.names: dict[int, str] = {-1: "x"}

    def lines(self) -> tuple[list[str], str]:
        found: list[str] = []
        last = len(self.block.steps) - 1
        for index in range(last):
            expression = self._expression(index)
            if index in self.inlined:
                self.text[index] = expression
            else:
                self.names[index] = self.text[index] = self._name(index)
                found.append(f"{self.names[index]} = {expression}")
        return found, self._expression(last)

    def _is_inlined(self, index: int, depth: int) -> bool:
        users = self.users[index]
        step = self.block.steps[index]
        if len(users) != 1:
            return step.kind == "tensor"
        user = self.block.steps[users[0]]
        if step.kind == "tensor" or step.target in ("size", "topk", "expand", operator.getitem):
            return True
        if depth >= _DEEPEST:
            return False
        if user.kind == "method":
            return user.arguments[0] == Ref(index)
        if user.kind == "module":
            leaf = self.block.parts[user.target]
            return isinstance(leaf, nn.Module) and (isinstance(leaf, _FOLLOWERS) or is_activation(leaf))
        return user.target is operator.getitem or (step.kind != "function" and depth == 1 and user.target in INFIX)

    def _printed(self, index: int) -> int:
        """The step whose statement `index` is written in."""
        while index in self.inlined and self.users[index]:
            index = max(self.users[index])
        return index

    def _dies(self, value: int, at: int) -> bool:
        """Whether nothing after the statement of step `at` reads `value`."""
        return all(self._printed(user) <= at for user in self.users[value])

    def _name(self, index: int) -> str:
        """That of what it is made of, where that goes on in it alone; that of the layer that branches off; or `out`."""
        sources = list(dict.fromkeys(self._roots(index)))
        branching = len(sources) == 1 and len(self.users[sources[0]]) > 1
        if len(sources) == 1 and not branching:
            return self.names[sources[0]]
        wanted = self._branch(index) if branching else "out"
        taken = {name for value, name in self.names.items() if not self._dies(value, index)}
        if wanted == "out" and any(self.names[source] == "x" for source in sources) and "x" not in taken:
            return "x"
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}{count}"
        return name

    def _branch(self, index: int) -> str:
        """The name of the layer that comes first in its expression."""
        name = "out"
        while index != -1:
            step = self.block.steps[index]
            if step.kind == "module":
                name = step.target.replace(".", "_")
            first = next(step.refs())
            if first.step not in self.inlined:
                return name if first.step != -1 and not name.endswith("norm") else "out"
            index = first.step
        return name

    def _roots(self, index: int) -> list[int]:
        """The variables that its expression reads."""
        found = []
        for ref in self.block.steps[index].refs():
            found += self._roots(ref.step) if ref.step in self.inlined else [ref.step]
        return found

    def _expression(self, index: int) -> str:
        step = self.block.steps[index]
        if step.kind == "module":
            return f"{place(step.target)}({self._value(step.arguments[0], index, (0,))})"
        if step.kind == "tensor":
            return place(step.target)
        values = [self._value(value, index, (at,)) for at, value in enumerate(step.arguments)]
        named = [f"{name}={self._value(value, index, (name,))}" for name, value in step.named]
        if step.kind == "method":
            first = f"({values[0]})" if self._is_sum(step.arguments[0]) else values[0]
            return f"{first}.{step.target}({', '.join([*values[1:], *named])})"
        if step.target is operator.getitem:
            inside = step.arguments[1]
            if not isinstance(inside, tuple):
                return f"{values[0]}[{self._index(inside, index, (1,))}]"
            return f"{values[0]}[{', '.join(self._index(entry, index, (1, at)) for at, entry in enumerate(inside))}]"
        if step.target in INFIX and not named:
            sides = [
                f"({value})" if self._is_sum(argument) else value
                for value, argument in zip(values, step.arguments, strict=True)
            ]
            return f" {INFIX[step.target]} ".join(sides)
        return f"{function(step.target, str(step.target))}({', '.join([*values, *named])})"

    def _is_sum(self, value: Any) -> bool:
        inside = isinstance(value, Ref) and value.step in self.inlined
        return inside and self.block.steps[value.step].target in INFIX

    def _value(self, value: Any, index: int, where: tuple[Any, ...]) -> str:
        if isinstance(value, Ref):
            return self.text[value.step]
        if isinstance(value, list | tuple):
            parts = [self._value(part, index, (*where, at)) for at, part in enumerate(value)]
            inside = ", ".join(parts) + ("," if isinstance(value, tuple) and len(parts) == 1 else "")
            return f"[{inside}]" if isinstance(value, list) else f"({inside})"
        if is_number(value):
            return self.number(index, where, value)
        return literal(value)

    def _index(self, entry: Any, index: int, where: tuple[Any, ...]) -> str:
        if isinstance(entry, slice):
            ends = ["" if end is None else self._value(end, index, where) for end in (entry.start, entry.stop)]
            return ":".join(ends) if entry.step is None else f"{':'.join(ends)}:{entry.step}"
        return self._value(entry, index, where)


def place(path: str) -> str:
    """A part of a block, from inside: `self.conv`, or `self.query["near"]`."""
    first, *rest = path.split(".")
    return f"self.{first}" + "".join(f'["{name}"]' for name in rest)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
