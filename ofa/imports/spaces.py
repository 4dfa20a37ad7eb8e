"""Which published space a state dict belongs to: the family by its names, width, classes and channels by its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofa.imports.matching import spellings
from ofa.imports.names import NAMINGS, PUBLISHED, supernet_names
from search_spaces import SearchSpace, get_space, list_spaces
from search_spaces.common.errors import UserError, unknown_name
from search_spaces.common.settings import load_yaml
from search_spaces.operators import make_divisible
from search_spaces.supernet import Supernet


@dataclass(frozen=True)
class Layout:
    """The tensors of a space's supernet: our name -> published name, and published name -> shape."""

    space: SearchSpace
    names: dict[str, str]
    shapes: dict[str, tuple[int, ...]]

    def fits(self, found: Mapping[str, Tensor]) -> float:
        """The share of names that file and space have in common, of all that either has."""
        known = spellings(self.shapes)
        common = sum(name in known for name in found)
        return common / max(1, len(found) + len(self.shapes) - common)

    def find(self, found: Mapping[str, Tensor], ours: str) -> Tensor | None:
        """The tensor of the file that is `ours` of the supernet."""
        known = spellings([self.names[ours]])
        return next((tensor for name, tensor in found.items() if name in known), None)


def layout(space: SearchSpace) -> Layout:
    with torch.device("meta"):
        tensors = Supernet(space).state_dict()
    names = supernet_names(space, tensors)
    assert len(set(names.values())) == len(names)
    return Layout(space, names, {names[ours]: tuple(tensor.shape) for ours, tensor in tensors.items()})


def space_settings(text: str | None) -> dict[str, Any] | None:
    """What `--space` means: the settings of a registered name, or of the `space` section of a YAML file."""
    if text is None:
        return None
    if Path(text).suffix in (".yaml", ".yml"):
        return dict(load_yaml(text).get("space", {}))
    if text not in list_spaces():
        raise unknown_name("search space", text, list_spaces(), key="--space")
    return {"name": text}


def title(space: SearchSpace) -> str:
    """`ofa_mobilenet_v3 at width 1.2`."""
    width = space.settings.get("width_mult")
    return f"{space.name} at width {width:g}" if isinstance(width, float) else space.name


def identify(
    found: Mapping[str, Tensor],
    *,
    file: Path,
    settings: Mapping[str, Any] | None = None,
    width_mult: float | None = None,
) -> Layout:
    """The supernet that `found` is of: `settings` (as `get_space` takes them), or the published space nearest by name.

    Raises `UserError` if it is of none, of another than `settings`, or if its channels are of no width multiplier or
    of another than `width_mult`. That every tensor fits is for the caller to check.
    """
    nearest = max(_published_layouts(), key=lambda candidate: candidate.fits(found))
    if settings is None:
        base = nearest
        if base.fits(found) < 0.5:
            raise UserError(
                f"not a published once-for-all supernet: {nearest.fits(found):.0%} of its tensor names agree with the "
                f"nearest, {nearest.space.name}",
                file=file,
                hint=f"Known: {', '.join(PUBLISHED[family] for family in NAMINGS)}",
            )
        settings = {"name": base.space.name}
    else:
        chosen = get_space(settings)
        if chosen.family not in NAMINGS:
            raise UserError(f"nothing was published for the family {chosen.family}", key="--space", value=chosen.name)
        base = layout(chosen)
        if nearest.space.family != chosen.family and nearest.fits(found) > max(0.5, base.fits(found)):
            raise UserError(
                f"is a supernet of {nearest.space.name}, not of {chosen.name}", file=file, hint="Leave out --space"
            )
    space = _sized(base, found, settings, width_mult, file=file)
    return layout(space)


@cache
def _published_layouts() -> tuple[Layout, ...]:
    return tuple(layout(get_space({"name": PUBLISHED[family]})) for family in NAMINGS)


def _sized(
    base: Layout, found: Mapping[str, Tensor], settings: Mapping[str, Any], width_mult: float | None, *, file: Path
) -> SearchSpace:
    """The space with the classes, channels and width of the file."""
    num_classes, in_channels = _ends(base, found)
    if "width_mult" not in base.space.settings:
        if width_mult is not None:
            raise UserError(f"{base.space.name} has no width multiplier", key="--width-mult", value=width_mult)
        return get_space(settings, num_classes, in_channels)
    stated = stated_width(settings, width_mult)
    widths = channels(get_space({**settings, "width_mult": 1.0}))
    observed = {
        slot: tensor.shape[0] for slot in widths if (tensor := base.find(found, _output(base, slot))) is not None
    }
    wanted = [widths[slot] for slot in observed]
    inferred, agree = width_multiplier(wanted, list(observed.values()))
    complete = agree == len(observed)
    if stated is not None:
        if complete and [int(make_divisible(width * stated)) for width in wanted] != list(observed.values()):
            raise UserError(
                f"this checkpoint has width {inferred:g}, not {float(stated):g}",
                file=file,
                key="--width-mult" if width_mult is not None else "width_mult",
            )
        return get_space({**settings, "width_mult": stated}, num_classes, in_channels)
    if 2 * agree < len(observed):
        raise UserError(
            f"its channels {_row(observed.values())} are those of {base.space.name} ({_row(wanted)}) times no width "
            f"multiplier, rounded to multiples of 8; the nearest, {inferred:g}, explains {agree} of {len(observed)}",
            file=file,
        )
    return get_space({**settings, "width_mult": inferred}, num_classes, in_channels)


def stated_width(settings: Mapping[str, Any], width_mult: float | None) -> float | None:
    """The width multiplier that the user gave, if any. Raises `UserError` for two different ones."""
    own = settings.get("width_mult")
    if own is not None and width_mult is not None and own != width_mult:
        raise UserError(f"the space has width {own}", key="--width-mult", value=width_mult)
    return own if width_mult is None else width_mult


def width_multiplier(base: Sequence[int], observed: Sequence[int]) -> tuple[float, int]:
    """(the multiplier with the fewest decimals that gives the most of the observed widths, how many it gives)."""
    candidates = np.concatenate([np.arange(1, 8 * 10**decimals + 1) / 10**decimals for decimals in (0, 1, 2, 3)])
    widths = make_divisible(candidates[:, None] * np.asarray(base, dtype=float))
    agree = (widths == np.asarray(observed)).sum(axis=1)
    return float(candidates[agree.argmax()]), int(agree.max())


def channels(space: SearchSpace) -> dict[str, int]:
    """The width of every slot's output but the classifier's, in the largest network; slots without weights left out."""
    (largest,) = space.decode(space.largest())
    return {slot: int(operator.out_channels) for slot, operator in space.network(largest)[:-1] if operator.params()}


def _ends(base: Layout, found: Mapping[str, Tensor]) -> tuple[int, int]:
    """(num_classes, in_channels) of the file; those of the published networks where it does not say."""
    last = base.find(found, f"slots.{base.space.slots[-1].name}.linear.weight")
    first = base.find(found, next(iter(base.names)))
    num_classes = last.shape[0] if last is not None and last.dim() == 2 else base.space.num_classes
    return num_classes, first.shape[1] if first is not None and first.dim() == 4 else base.space.in_channels


def _output(base: Layout, slot: str) -> str:
    """Our name of the convolution that makes the output of a slot."""
    names = [name for name in base.names if name.startswith(f"slots.{slot}.") and name.endswith("conv.weight")]
    return names[-1]


def _row(numbers: Any) -> str:
    return ", ".join(map(str, dict.fromkeys(numbers)))
