"""Classes for blocks: one for all blocks of the same layers, whose parameters are the sizes in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ofa.export.torch_code.blocks import Block
from ofa.export.torch_code.layers import WIDTHS, arguments, is_activation
from ofa.export.torch_code.names import class_name, parameter_names, rank, sentence
from ofa.export.torch_code.statements import is_number, literal, place, statements

#: where a number stands in a block: ("part", path, argument), ("tensor", path, side), ("step", number, *where),
#: ("inner", path, parameter), or ("class", path) for which activation a layer is
Key = tuple[Any, ...]

#: the longest line
LINE = 120

#: kinds of numbers: equal ones of these in all blocks of a class are one parameter
WIDTH = "width"


@dataclass(frozen=True)
class Column:
    """One number of every block of a class. `fixed`: it is a parameter, even where it is the same in all."""

    key: Key
    kind: str
    values: tuple[Any, ...]
    fixed: str | None = None


@dataclass(frozen=True)
class BlockClass:
    """`parameters`: (name, kind); `values`: those of a block, by its id."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    values: Mapping[int, tuple[Any, ...]]
    text: str


@dataclass(frozen=True)
class Fixed:
    """Numbers of a block that are parameters under these names whatever the others are."""

    block: Block
    names: Mapping[Key, str]


def write_classes(blocks: Sequence[Block], fixed: Sequence[Fixed] = ()) -> dict[int, BlockClass]:
    """The class of every block, and of those inside them, by the block's id: inner ones first."""
    found: dict[int, BlockClass] = {}
    inner = [part for block in blocks for part in block.parts.values() if isinstance(part, Block)]
    if inner:
        found |= write_classes(inner)
    names = {id(entry.block): entry.names for entry in fixed}
    groups: dict[Any, list[Block]] = {}
    for block in blocks:
        alone = id(block) if id(block) in names else None
        groups.setdefault((alone, _signature(block)), []).append(block)
    taken = {entry.name for entry in found.values()}
    for group in groups.values():
        written = _write_class(group, found, names.get(id(group[0]), {}), taken)
        taken.add(written.name)
        found |= {id(block): written for block in group}
    return found


def construct(block: Block, classes: Mapping[int, BlockClass], written: Mapping[str, str] | None = None) -> str:
    """The call that makes `block`; `written` says how some parameters are written."""
    made = classes[id(block)]
    parts: list[str] = []
    for (name, kind), value in zip(made.parameters, made.values[id(block)], strict=True):
        text = (written or {}).get(name, _plain(value))
        parts.append(text if kind == WIDTH and all("=" not in part for part in parts) else f"{name}={text}")
    return f"{made.name}({', '.join(parts)})"


def _write_class(
    group: Sequence[Block], inner: Mapping[int, BlockClass], fixed: Mapping[Key, str], taken: set[str]
) -> BlockClass:
    block = group[0]
    columns = _columns(group, inner, fixed)
    merged = _merged([column for column in columns if column.kind != "half"])
    names = parameter_names(block, [[column.key for column in columns] for columns in merged], fixed)
    order = sorted(range(len(names)), key=lambda number: rank(names[number], merged[number][0].kind == WIDTH))
    names, merged = [names[number] for number in order], [merged[number] for number in order]
    written = {column.key: name for name, same in zip(names, merged, strict=True) for column in same}
    for column in columns:
        if column.kind == "half":
            written[column.key] = f"{written[('part', column.key[1], 'kernel_size')]} // 2"
    parameters = tuple((name, same[0].kind) for name, same in zip(names, merged, strict=True))
    values = {id(one): tuple(same[0].values[number] for same in merged) for number, one in enumerate(group)}
    name = class_name(block, taken)
    kept: dict[str, None] = {}

    def number(step: int, where: tuple[Any, ...], value: Any) -> str:
        parameter = written.get(("step", step, *where))
        if parameter is None:
            return literal(value)
        kept[parameter] = None
        return f"self.{parameter}"

    lines, last = statements(block, number)
    body = [f"        {line}\n" for line in lines]
    if "num_classes" in names:
        head = f"{place(block.steps[-1].target)}("
        assert last.startswith(head)
        if (rest := last.removeprefix(head)[:-1]) != "x":
            body.append(f"        x = {rest}\n")
        body.append(f"        return x if pre_logits else {head}x)\n")
    else:
        body.append(f"        return {last}\n")
    more = ", pre_logits: bool = False" if "num_classes" in names else ""
    text = (
        f'class {name}(nn.Module):\n    """{sentence(name, block)}"""\n\n'
        f"    def __init__(self{''.join(f', {name}: {_type(kind)}' for name, kind in parameters)}) -> None:\n"
        "        super().__init__()\n"
        + "".join(f"        self.{name} = {name}\n" for name in kept)
        + "".join(wrapped(f"        {line}\n") for line in _layers(block, written, inner))
        + f"\n    def forward(self, x: Tensor{more}) -> Tensor:\n"
        + "".join(body)
    )
    return BlockClass(name, parameters, values, text)


def wrapped(line: str) -> str:
    """A line that ends in a call with plain arguments, these in lines of their own where it is too long."""
    if len(line.rstrip()) <= LINE or not line.endswith(")\n"):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    head, _, inside = line[:-2].partition("(")
    rows = [inside] if len(indent) + 4 + len(inside) <= LINE else [f"{part}," for part in inside.split(", ")]
    return f"{head}(\n" + "".join(f"{indent}    {row}\n" for row in rows) + f"{indent})\n"


def _layers(block: Block, written: Mapping[Key, str], inner: Mapping[int, BlockClass]) -> Iterator[str]:
    """Statements that make the parts of a block."""
    families: dict[str, list[str]] = {}
    for path, part in block.parts.items():
        made = _part(path, part, written, inner)
        if "." not in path:
            yield f"self.{path} = {made}"
        else:
            family, _, own = path.partition(".")
            families.setdefault(family, []).append(f'"{own}": {made}')
    for family, entries in families.items():
        yield f"self.{family} = nn.ModuleDict({{{', '.join(entries)}}})"


def _part(
    path: str, part: nn.Module | Block | Tensor, written: Mapping[Key, str], inner: Mapping[int, BlockClass]
) -> str:
    if isinstance(part, Block):
        own = {key[2]: name for key, name in written.items() if key[:2] == ("inner", path)}
        return construct(part, inner, own)
    if isinstance(part, Tensor):
        sides = [written.get(("tensor", path, axis), repr(side)) for axis, side in enumerate(part.shape)]
        return f"nn.Parameter(torch.zeros({', '.join(sides)}))"
    parts = []
    for argument in arguments(part, path):
        text = written.get(("part", path, argument.name), literal(argument.value))
        if argument.by_name and text == literal(argument.default):
            continue
        parts.append(f"{argument.name}={text}" if argument.by_name else text)
    kind = written.get(("class", path), f"nn.{type(part).__name__}")
    made = f"{kind}({', '.join(parts)})"
    if written.get(("part", path, "out_features")) == "num_classes":
        return f"{made} if num_classes > 0 else nn.Identity()"
    return made


def _columns(group: Sequence[Block], inner: Mapping[int, BlockClass], fixed: Mapping[Key, str]) -> list[Column]:
    """Numbers that are parameters: those that differ between blocks of the group, and the fixed ones."""
    rows = [dict(_numbers(block, inner)) for block in group]
    found = []
    for key, (kind, _) in rows[0].items():
        values = tuple(row[key][1] for row in rows)
        if key in fixed:
            found.append(Column(key, kind, values, fixed[key]))
        elif len(set(values)) > 1:
            if key[-1] == "padding" and all(_is_half(row, key) for row in rows):
                found.append(Column(key, "half", values))
            else:
                found.append(Column(key, kind, values))
    return found


def _is_half(row: Mapping[Key, tuple[str, Any]], key: Key) -> bool:
    return bool(row[key][1] == row[(*key[:-1], "kernel_size")][1] // 2)


def _numbers(block: Block, inner: Mapping[int, BlockClass]) -> Iterator[tuple[Key, tuple[str, Any]]]:
    """(where, (kind, number)) of every number of a block."""
    for path, part in block.parts.items():
        if isinstance(part, Block):
            made = inner[id(part)]
            for (name, kind), value in zip(made.parameters, made.values[id(part)], strict=True):
                yield ("inner", path, name), (kind, value)
        elif isinstance(part, Tensor):
            for axis, side in enumerate(part.shape):
                yield ("tensor", path, axis), (WIDTH, int(side))
        else:
            if is_activation(part):
                yield ("class", path), ("type", type(part))
            for argument in arguments(part, path):
                if is_number(argument.value):
                    counts = argument.name in WIDTHS and (argument.name, argument.value) != ("groups", 1)
                    yield ("part", path, argument.name), (WIDTH if counts else argument.name, argument.value)
    for index, step in enumerate(block.steps):
        for where, value in _constants(step.arguments, ()):
            yield ("step", index, *where), ("constant", value)
        for name, part in step.named:
            for where, value in _constants((part,), ()):
                yield ("step", index, name, *where[1:]), ("constant", value)


def _constants(value: Any, where: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if is_number(value):
        yield where, value
    elif isinstance(value, tuple | list):
        for at, part in enumerate(value):
            yield from _constants(part, (*where, at))


def _merged(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns that are one parameter together: widths that are equal in all blocks, and all activations that are."""
    found: dict[Any, list[Column]] = {}
    for number, column in enumerate(columns):
        alone = column.fixed is not None or column.kind not in (WIDTH, "type", "kernel_size", "eps")
        found.setdefault(number if alone else (column.kind, column.values), []).append(column)
    return list(found.values())


def _signature(block: Block) -> Any:
    """Equal for blocks that one class can write."""
    parts: list[tuple[Any, ...]] = []
    for path, part in block.parts.items():
        if isinstance(part, Block):
            parts.append((path, _signature(part)))
        elif isinstance(part, Tensor):
            parts.append((path, part.ndim))
        else:
            kind = "activation" if is_activation(part) else type(part).__name__
            said = tuple((a.name, None if is_number(a.value) else a.value) for a in arguments(part, path))
            parts.append((path, kind, said))
    steps = tuple((step.kind, step.target, _masked(step.arguments), _masked(step.named)) for step in block.steps)
    return steps, tuple(parts)


def _masked(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return (type(value).__name__, *(_masked(part) for part in value))
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    return "number" if is_number(value) else value


def _type(kind: str) -> str:
    return {"type": "type[nn.Module]", "eps": "float", "p": "float", "constant": "float"}.get(kind, "int")


def _plain(value: Any) -> str:
    return f"nn.{value.__name__}" if isinstance(value, type) else literal(value)
