"""Tensors of a file against the tensors that are wanted: every one of both is accounted for, or the list is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ofa.imports.names import is_counter, is_transform, single
from search_spaces.common.errors import UserError

Shapes = Mapping[str, Sequence[int]]

NO_TRANSFORMS = "the file has no kernel transformation matrices (it is of a static network): they start as identity"
NO_COUNTERS = "the file does not count the batches of its norms: the counters start at 0"

_SHOWN = 4


def spellings(wanted: Iterable[str]) -> dict[str, str]:
    """{spelling: wanted name}: every wanted name, and the same with the word of an elastic layer written once."""
    wanted = list(wanted)
    found = {single(name): name for name in wanted} | {name: name for name in wanted}
    assert len(set(found.values())) == len(wanted)
    return found


def take(
    found: Mapping[str, Tensor], wanted: Shapes, *, file: Path, of: str, hint: str | None = None
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of `found` by their wanted names, and notes on what was filled in.

    Only what a whole kind of file lacks is filled in: kernel transformations (static networks) and batch counters
    (the first releases of torch). `of` names what the tensors should be those of. Raises `UserError` listing missing
    and unknown names (with `hint`, if none looks renamed), or wrong shapes.
    """
    known = spellings(wanted)
    taken: dict[str, Tensor] = {}
    unknown = []
    for spelling, tensor in found.items():
        name = known.get(spelling)
        if name is None:
            unknown.append(spelling)
        elif name in taken:
            raise UserError("is there twice, in an old and a new spelling", file=file, key=name)
        else:
            taken[name] = tensor
    filled, notes = _filled_in(wanted, taken)
    missing = [name for name in wanted if name not in taken and name not in filled]
    if missing or unknown:
        raise _names_differ(missing, unknown, found, wanted, file=file, of=of, hint=hint)
    wrong = [name for name, tensor in taken.items() if tuple(tensor.shape) != tuple(wanted[name])]
    if wrong:
        name = wrong[0]
        listed = f"; then {_listed(wrong[1:])}" if wrong[1:] else ""
        raise UserError(
            f"{len(wrong)} of {len(wanted)} tensors have other shapes than in {of}: "
            f"this one is {tuple(taken[name].shape)} instead of {tuple(wanted[name])}{listed}",
            file=file,
            key=name,
        )
    return {**taken, **filled}, notes


def _filled_in(wanted: Shapes, taken: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    filled: dict[str, Tensor] = {}
    notes = []
    transforms = [name for name in wanted if is_transform(name)]
    if transforms and not any(name in taken for name in transforms):
        filled |= {name: torch.eye(int(wanted[name][0])) for name in transforms}
        notes.append(NO_TRANSFORMS)
    counters = [name for name in wanted if is_counter(name)]
    if counters and not any(name in taken for name in counters):
        filled |= {name: torch.tensor(0) for name in counters}
        notes.append(NO_COUNTERS)
    return filled, notes


def _names_differ(
    missing: Sequence[str],
    unknown: Sequence[str],
    found: Mapping[str, Tensor],
    wanted: Shapes,
    *,
    file: Path,
    of: str,
    hint: str | None,
) -> UserError:
    parts = [
        f"{len(names)} {kind} ({_listed(names)})"
        for kind, names in (("missing", missing), ("unknown", unknown))
        if names
    ]
    renamed, left = [], list(missing)
    for name in unknown:
        same_shape = [other for other in left if tuple(wanted[other]) == tuple(found[name].shape)]
        for near in difflib.get_close_matches(name, same_shape, n=1, cutoff=0.6):
            renamed.append(f"{name!r} may be {near!r} renamed")
            left.remove(near)
    more = f"; and {len(renamed) - 3} more" if len(renamed) > 3 else ""
    return UserError(
        f"the tensors are not those of {of}: {', '.join(parts)}",
        file=file,
        hint="; ".join(renamed[:3]) + more if renamed else hint,
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
